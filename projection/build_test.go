package projection_test

import (
	"testing"
	"time"

	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/projection"
	"github.com/tributary-health/tributary/store/pebble"
)

// TestBuild makes a client's store again under another policy: no version number
// of the old one comes again.
func TestBuild(t *testing.T) {
	b, m := newBase(t), newModel()
	c := newClient(t, b)
	r := newHalf(t, 3, 3).r
	at := epoch
	for range 10 {
		at = randomGroup(r, b, m, at)
	}
	must(t, c.catchUp())
	old, ok, err := projection.Noted(c.db)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	cfg := c.cfg
	began := at.Add(time.Hour)
	cfg.Policy, cfg.Build, cfg.Now = policy{"p2"}, old.Build+1, func() time.Time { return began }
	o := small
	o.FS, o.FirstVersion = c.disk, projection.FirstVersion(cfg.Build)
	db, err := pebble.Open("client.1", o)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	cfg.Store = db
	next := &client{t: t, disk: c.disk, db: db, cfg: cfg}
	next.start(nil)
	must(t, next.catchUp())
	must(t, db.Check(ctx))
	n := 0
	must(t, db.Current(db.Frontier().Number, func(v fhir.Version) bool {
		n++
		head, ok, err := c.db.Head(v.ResourceID)
		if err != nil || !ok || v.Number != head.Number+projection.FirstVersion(1)-1 {
			t.Fatalf("%s: version %d after %d: %v %v", v.ResourceID, v.Number, head.Number, ok, err)
		}
		// A client that asks for what is new must learn that it is shown otherwise.
		if v.Updated.Before(began.Truncate(time.Millisecond)) {
			t.Fatalf("%s: updated %s, before its build was begun", v.ResourceID, v.Updated)
		}
		return true
	}))
	if n == 0 {
		t.Fatal("nothing is shown")
	}
}
