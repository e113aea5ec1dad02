package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What the test adds to the sample mappings: a table and a resource, in YAML
// alone.
const reminders = `
tables:
  emr.reminders: {member: patient, time: raised}
---
resource: Flag
from: emr.reminders
body:
  status: '= row.closed == null ? "active" : "inactive"'
  code: {text: '= row.note'}
  subject: {reference: '= ref("Patient", "emr.patients", row.patient)'}
  period: {start: '= row.raised', end: '= row.closed'}
`

// A table and a resource are added by YAML alone. The rows that the table had
// before are not silently missing: the process asks for a new snapshot first.
func TestTableByYAMLAlone(t *testing.T) {
	t.Parallel()
	d := composedDemo(t)
	d.start()
	d.ready()
	patient := column(t, d.pg, "SELECT id::text FROM patients ORDER BY id LIMIT 1")[0]
	id := d.patientIDs(t)[patient]
	exec1(t, d.pg, `CREATE TABLE reminders (id integer PRIMARY KEY, patient uuid NOT NULL, note text, raised date, closed date)`)
	exec1(t, d.pg, `ALTER TABLE reminders REPLICA IDENTITY FULL`)
	exec1(t, d.pg, `INSERT INTO reminders SELECT n, $1, 'call back', '2026-11-01', NULL FROM generate_series(1, 3) n`, patient)
	d.kill()

	config := d.addMapping(t, reminders)
	d.launch("run", "--config", config)
	select {
	case <-d.exited:
	case <-time.After(time.Minute):
		t.Fatal("a table that no snapshot holds was taken in silently")
	}
	if out := d.printed(); d.err == nil || !strings.Contains(out, "emr.reminders") || !strings.Contains(out, "--resnapshot emr") {
		t.Fatalf("%v\n%s", d.err, out)
	}
	d.launch("run", "--config", config, "--resnapshot", "emr")
	d.ready()
	d.await("the snapshot's rows", time.Minute, func() bool {
		code, _, _ := d.get("/Flag?_summary=count")
		return code == http.StatusOK && len(d.all("/Flag?status=active&patient="+id)) == 3
	})
	exec1(t, d.pg, `INSERT INTO reminders VALUES (4, $1, 'letter', '2026-11-02', NULL)`, patient)
	exec1(t, d.pg, `UPDATE reminders SET closed = '2026-11-03' WHERE id = 1`)
	d.ready()
	if n := len(d.all("/Flag?status=active&patient=" + id)); n != 3 {
		t.Errorf("%d active flags, want 3", n)
	}
	if n := len(d.all("/Flag")); n != 4 {
		t.Errorf("%d flags, want 4", n)
	}
	if exit, out := d.verify(); exit != 0 || !strings.Contains(out, "Flag") {
		t.Errorf("verify: exit %d\n%s", exit, out)
	}
	d.topicAgreesOn(t, "Flag")
}

// addMapping gives the demo's configuration the sample mappings with one file
// more, and returns the configuration's path.
func (d *demoRun) addMapping(t *testing.T, yaml string) (config string) {
	t.Helper()
	folder := filepath.Join(d.work, "mappings")
	copyMappings(t, folder)
	writeFile(t, filepath.Join(folder, "added.yaml"), yaml)
	config = filepath.Join(d.work, "tributary.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, config, string(text)+"\nmappings: mappings\n")
	return config
}

func copyMappings(t *testing.T, to string) {
	t.Helper()
	files, err := filepath.Glob("../mappings/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("mappings: %v, %v", files, err)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(to, filepath.Base(f)), string(b))
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// topicAgreesOn counts the live resources of a type on the topic against those
// served.
func (d *demoRun) topicAgreesOn(t *testing.T, typ string) {
	t.Helper()
	live := map[string]bool{}
	for _, c := range d.readTopic(t) {
		if name := c.headers["tributary-resource"]; strings.HasPrefix(name, typ+"/") {
			live[name] = c.headers["tributary-operation"] != "delete"
		}
	}
	n := 0
	for _, alive := range live {
		if alive {
			n++
		}
	}
	if served := len(d.all("/" + typ)); n != served || n == 0 {
		t.Errorf("%s: %d on the topic, %d served", typ, n, served)
	}
}
