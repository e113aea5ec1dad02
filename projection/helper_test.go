package projection_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/fhir"
)

type ctxType = context.Context

func contextWithCancel(t testing.TB) (context.Context, context.CancelFunc) {
	c, stop := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(stop)
	return c, stop
}

func contains(err error, text string) bool { return strings.Contains(err.Error(), text) }

func claimID(n int) fhir.ResourceID { return fhir.ResourceID{Type: "Claim", ID: fmt.Sprint(n)} }

// manyPuts are enough of one member that its partition's entries are dropped.
func manyPuts(n int, status string) []put {
	var puts []put
	for i := range n {
		puts = append(puts, put{id: claimID(i), member: "a", status: status, note: "1"})
	}
	return puts
}

const tooMany = 4200 // the store drops entries by 4,096

func many(b *base, m *model, at time.Time) {
	b.t.Helper()
	puts := manyPuts(tooMany, "many")
	b.unit("emr", at, puts)
	m.unit(at, puts)
	b.commit()
}

// change0 is the partition of the member who has many.
func change0() int32 { return change.Partition("a", partitions) }

func publishAll(t testing.TB, b *base, published func(context.Context, int32, uint64) error) {
	t.Helper()
	for p, n := range b.outbox {
		must(t, published(ctx, int32(p), n))
	}
}

func dropAll(t testing.TB, b *base) {
	t.Helper()
	publishAll(t, b, b.Published)
	if n, err := b.Dropped(change0()); n == 0 || err != nil {
		t.Fatalf("nothing was dropped: %v", err)
	}
}

// current wants the client's store to show what the model does now.
func current(t testing.TB, m *model, c *client) {
	t.Helper()
	n := 0
	must(t, c.db.Current(c.db.Frontier().Number, func(v fhir.Version) bool {
		n++
		want := m.heads[v.ResourceID]
		if got := seen(t, &v); got.content != want.content || got.member != want.member {
			t.Fatalf("current\n got %+v\nwant %+v", got, want)
		}
		return true
	}))
	for id, head := range m.heads {
		if head.content != "" {
			n--
			if _, ok, err := c.db.Head(id); !ok || err != nil {
				t.Fatalf("%s is missing: %v", id, err)
			}
		}
	}
	if n != 0 {
		t.Fatalf("%d too many", n)
	}
}
