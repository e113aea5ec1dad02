package integration

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A change of a column's type rewrites rows that the log does not tell of: the
// process stops at the first row after it, by name, and a new snapshot mends it.
func TestRetypedColumnStops(t *testing.T) {
	t.Parallel()
	d := composedDemo(t)
	d.start()
	d.ready()
	config := filepath.Join(d.work, "tributary.yaml")
	stops := func(column, source string) {
		t.Helper()
		select {
		case <-d.exited:
		case <-time.After(time.Minute):
			t.Fatalf("column %s was retyped, and nothing stopped", column)
		}
		if out := d.printed(); !strings.Contains(out, "column "+column) || !strings.Contains(out, "--resnapshot "+source) {
			t.Errorf("the message names neither column nor cure:\n%s", tail(out, 800))
		}
		var env strings.Builder // the demo took its own away when it ended
		for k, v := range d.env {
			env.WriteString(k + "='" + v + "'\n")
		}
		writeFile(t, filepath.Join(d.work, "demo.env"), env.String())
		d.launch("run", "--config", config, "--resnapshot", source)
		d.ready()
		if exit, out := d.verify(); exit != 0 {
			t.Fatalf("verify after the new snapshot: exit %d\n%s", exit, out)
		}
	}
	exec1(t, d.pg, "ALTER TABLE patients ALTER COLUMN city TYPE varchar(200) USING upper(city)")
	exec1(t, d.pg, "UPDATE patients SET phone = phone || ' ext 1'")
	stops("city", "emr")
	exec1(t, d.maria, "ALTER TABLE fills MODIFY quantity DECIMAL(8, 0) NOT NULL")
	exec1(t, d.maria, "UPDATE fills SET daw = 1 ORDER BY id LIMIT 1")
	stops("quantity", "pharmacy")
}
