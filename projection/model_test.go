package projection_test

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store/pebble"
)

// model says what a projection must hold, from the puts alone.
type model struct {
	heads   map[fhir.ResourceID]shown
	commits [][]shown // by the client's commit, in order
	times   []time.Time
}

// shown is a version as the client sees it.
type shown struct {
	id      fhir.ResourceID
	member  string
	number  uint64
	content string // empty for a deletion
	updated time.Time
}

func newModel() *model { return &model{heads: map[fhir.ResourceID]shown{}} }

// unit applies the puts of one unit.
func (m *model) unit(at time.Time, puts []put) {
	var made []shown
	for _, p := range puts {
		if p.id.Type == "Coverage" {
			continue
		}
		now := ""
		if !p.gone() && (policy{}).MayKnow(p.member) {
			now = fmt.Sprintf(`{"resourceType":%q,"id":%q,"meta":{"source":"t"},"status":%q,"end":1}`, p.id.Type, p.id.ID, p.status)
		}
		head := m.heads[p.id]
		if head.content != "" && (now == "" || head.member != p.member) {
			made = append(made, m.next(p.id, head.member, "", at))
		}
		if head = m.heads[p.id]; now != "" && head.content != now {
			made = append(made, m.next(p.id, p.member, now, at))
		}
	}
	if made != nil {
		m.commits = append(m.commits, made)
		m.times = append(m.times, at)
	}
}

func (m *model) next(id fhir.ResourceID, member, content string, at time.Time) shown {
	head := m.heads[id]
	v := shown{id, member, head.number + 1, content, at.Truncate(time.Millisecond)}
	if v.updated.Before(head.updated) {
		v.updated = head.updated
	}
	m.heads[id] = v
	return v
}

// compare wants the store to hold exactly what the model does.
func (m *model) compare(t testing.TB, db *pebble.DB) {
	t.Helper()
	f := db.Frontier()
	if int(f.Number) != len(m.commits) {
		t.Fatalf("%d commits, want %d", f.Number, len(m.commits))
	}
	must(t, db.Check(ctx))
	got := make([][]shown, len(m.commits))
	err := db.Changes(nil, func(_ int32, _ uint64, a commit.Announcement) bool {
		v := &a.Version
		i := int(a.Info.Number) - 1
		if int(v.Sequence) != len(got[i]) || int(a.Info.Count) != len(m.commits[i]) || !a.Info.Committed.Equal(m.times[i]) {
			t.Fatalf("commit %d: version %d of %d at %v, want %d of %d at %v", i+1, v.Sequence, a.Info.Count, a.Info.Committed, len(got[i]), len(m.commits[i]), m.times[i])
		}
		got[i] = append(got[i], seen(t, &v.Version))
		return true
	})
	must(t, err)
	for i := range got {
		if !reflect.DeepEqual(got[i], m.commits[i]) {
			t.Fatalf("commit %d\n got %+v\nwant %+v", i+1, got[i], m.commits[i])
		}
	}
	alive := map[fhir.ResourceID]bool{}
	must(t, db.Current(f.Number, func(v fhir.Version) bool {
		alive[v.ResourceID] = true
		if got := seen(t, &v); !reflect.DeepEqual(got, m.heads[v.ResourceID]) {
			t.Fatalf("current\n got %+v\nwant %+v", got, m.heads[v.ResourceID])
		}
		return true
	}))
	for id, head := range m.heads {
		if alive[id] != (head.content != "") {
			t.Fatalf("%s is there: %v, its newest is %+v", id, alive[id], head)
		}
	}
}

// seen checks how a version is stamped and indexed.
func seen(t testing.TB, v *fhir.Version) shown {
	t.Helper()
	s := shown{v.ResourceID, v.Member, v.Number, "", v.Updated}
	if v.Deleted != (v.Body == nil) {
		t.Fatalf("%s version %d: deleted %v with a body of %d", v.ResourceID, v.Number, v.Deleted, len(v.Body))
	}
	if v.Deleted {
		return s
	}
	plain := fhir.Unstamp(v.Body)
	if !bytes.Equal(fhir.Stamp(nil, plain, v.Number, v.Updated), v.Body) {
		t.Fatalf("%s version %d is stamped otherwise", v.ResourceID, v.Number)
	}
	if index, _ := fhir.Index(v.Type, v.Body); !bytes.Equal(index, v.Index) {
		t.Fatalf("%s version %d is indexed otherwise", v.ResourceID, v.Number)
	}
	s.content = string(plain)
	return s
}
