package pebble

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store"
)

// written is a store with one resource's versions, a commit each: it stays, moves
// to and fro, goes and comes back.
func written(t *testing.T) (db *DB, kind uint16, members []string) {
	t.Helper()
	db, err := Open(t.TempDir(), Options{CacheBytes: 8 << 20, MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	members = []string{"a", "a", "", "b", "a", "gone", "a", "b", "gone", "", "gone", "b"}
	for i, member := range members {
		v := commit.Version{Op: commit.Update, Outbox: uint64(i + 1)}
		v.ResourceID, v.Number, v.Member = fhir.ResourceID{Type: "Claim", ID: "c"}, uint64(i+1), member
		if v.Deleted = member == "gone"; v.Deleted {
			v.Op, v.Member = commit.Delete, members[i-1]
		} else {
			v.Body, v.Index = fmt.Append(nil, "body ", i+1), fmt.Append(nil, "index ", i+1)
		}
		b := commit.Batch{Units: []commit.Unit{{Number: commit.Number(i + 1), Count: 1, Versions: []commit.Version{v}}}}
		if err := db.Commit(context.Background(), b, commit.Frontier{Number: commit.Number(i + 1), Outbox: []uint64{uint64(i + 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	kind, _ = db.names.Load().find(nameType, "Claim")
	return db, kind, members
}

// TestContentOfAHeadThatWasNewest reads with each head that the resource ever
// had, as a reader does that is overtaken by writes between head and content.
func TestContentOfAHeadThatWasNewest(t *testing.T) {
	db, kind, members := written(t)
	for i, member := range members {
		old, ok, err := db.headAt(kind, "c", uint64(i+1))
		if err != nil || !ok || old.number != uint64(i+1) {
			t.Fatalf("head of version %d: %+v, %v, %v", i+1, old, ok, err)
		}
		v, err := db.content(kind, "c", &old)
		body, index := fmt.Sprint("body ", i+1), fmt.Sprint("index ", i+1)
		if member == "gone" {
			body, index = "", ""
		}
		if err != nil || !v.head.equal(&old) || string(v.body) != body || string(v.index) != index {
			t.Errorf("version %d: %q %q %+v, %v", i+1, v.body, v.index, v.head, err)
		}
	}
	old := head{number: 99, member: []byte("a")}
	if _, err := db.content(kind, "c", &old); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a version that never was: %v", err)
	}
}

// TestContentsAreOfTheLiving wants only the newest version's content outside of
// the history, and that only while the resource lives.
func TestContentsAreOfTheLiving(t *testing.T) {
	db, kind, _ := written(t)
	var keys []string
	err := db.each([]byte{spaceBody}, []byte{spaceBody + 1}, func(key, _ []byte) (bool, error) {
		keys = append(keys, string(key))
		return true, nil
	})
	if want := string(bodyKey(nil, "b", kind, "c")); err != nil || len(keys) != 1 || keys[0] != want {
		t.Errorf("contents %q, %v", keys, err)
	}
}
