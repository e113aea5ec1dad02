package integration

import (
	"path/filepath"
	"strings"
	"testing"
)

// A column that is retyped, and retyped back, each with the new snapshot that
// this asks for, is captured on after the next start as well: what the rows were
// last written with counts, not what was seen last for the first time.
func TestColumnRetypedBack(t *testing.T) {
	t.Parallel()
	d := composedDemo(t)
	d.start()
	d.ready()
	config := filepath.Join(d.work, "tributary.yaml")
	patient := column(t, d.pg, "SELECT id::text FROM patients ORDER BY id LIMIT 1")[0]
	id := d.patientIDs(t)[patient]
	before := column(t, d.pg, "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'patients'::regclass AND attname = 'city'")[0]
	for _, typ := range []string{"varchar(200)", before} {
		d.kill()
		exec1(t, d.pg, "ALTER TABLE patients ALTER COLUMN city TYPE "+typ)
		d.launch("run", "--config", config, "--resnapshot", "emr")
		d.ready()
	}
	d.kill()
	d.launch("run", "--config", config)
	d.ready()
	exec1(t, d.pg, "UPDATE patients SET city = 'Changed again' WHERE id = $1", patient)
	d.ready()
	if _, _, body := d.get("/Patient/" + id); !strings.Contains(string(body), "Changed again") {
		t.Errorf("a change after the column's type came back is not there: %.400s", body)
	}
	if exit, out := d.verify(); exit != 0 {
		t.Errorf("verify: exit %d\n%s", exit, out)
	}
}
