package integration

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// tool runs the product to its end and returns status and output.
func tool(t *testing.T, env []string, args ...string) (exit int, output string) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func wants(t *testing.T, exit int, output string, wanted ...string) {
	t.Helper()
	if exit != 1 {
		t.Errorf("exit %d, want 1\n%s", exit, output)
	}
	for _, w := range wanted {
		if !strings.Contains(output, w) {
			t.Errorf("nothing says %q\n%s", w, output)
		}
	}
}

// A configuration's faults come all at once, each with line and column: the
// corpus says in its comments which.
func TestCheckConfiguration(t *testing.T) {
	const path = "testdata/check/config.yaml"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	exit, out := tool(t, nil, "check", "--config", path)
	faults := regexp.MustCompile(`(?m) # (\d+:\d+) (.*)$`).FindAllStringSubmatch(string(text), -1)
	if len(faults) < 5 {
		t.Fatalf("%d faults in the corpus", len(faults))
	}
	for _, f := range faults {
		wants(t, exit, out, path+":"+f[1]+": "+f[2])
	}
}

// What a user can do wrong beside a running demo is refused with a clear error,
// and what breaks under it is mended by what the error says.
func TestBadInput(t *testing.T) {
	t.Parallel()
	d := composedDemo(t)
	d.start()
	d.ready()
	t.Run("requests", d.badRequests)
	t.Run("taken", d.takenAddresses)
	t.Run("mappings", d.badMappings)
	t.Run("source settings", d.badSettings)
	t.Run("slot dropped", d.slotDropped)
	t.Run("binlog purged", d.binlogPurged)
}

func (d *demoRun) badRequests(t *testing.T) {
	for _, c := range []struct {
		path  string
		code  int
		names string
	}{
		{"/Nonsense", 404, "type"},
		{"/Patient/nosuch", 404, "no such resource"},
		{"/Patient/nosuch/$medication-profile", 404, "no such resource"},
		{"/Patient?nonsense=1", 400, `"nonsense"`},
		{"/Patient?birthdate=2020-13-40", 400, `"birthdate"`},
		{"/MedicationRequest?date=2020-02-30", 400, `"date"`},
		{"/Patient?_lastUpdated=gt20", 400, `"_lastUpdated"`},
		{"/Patient?_count=many", 400, `"_count"`},
		{"/Patient?_count=-1", 400, `"_count"`},
		{"/Patient?_include=Bogus", 400, `"_include"`},
		{"/Patient?identifier=a|b|c", 400, `"identifier"`},
	} {
		code, _, body := d.get(c.path)
		d.outcome(t, c.path, code, body, c.code, c.names)
	}
	for _, key := range []string{"", "wrong", d.env["PROVIDER_KEY"] + "x"} {
		code, header, body, err := d.tryGetAs(key, "/Patient")
		if err != nil {
			t.Fatal(err)
		}
		d.outcome(t, "with a wrong key", code, body, 401, "key")
		if header.Get("WWW-Authenticate") == "" {
			t.Error("a 401 without WWW-Authenticate")
		}
	}
	for key, want := range map[string]int{"": 401, "wrong": 401, d.env["PROVIDER_KEY"]: 403, d.env["OPERATOR_KEY"]: 200} {
		if code, _, _, err := d.tryGetAs(key, "http://"+d.api+"/status"); err != nil || code != want {
			t.Errorf("/status: %d %v, want %d", code, err, want)
		}
	}
}

func (d *demoRun) outcome(t *testing.T, what string, code int, body []byte, want int, names string) {
	t.Helper()
	var o struct {
		ResourceType string
		Issue        []struct{ Diagnostics string }
	}
	if err := json.Unmarshal(body, &o); err != nil || code != want || o.ResourceType != "OperationOutcome" ||
		len(o.Issue) == 0 || !strings.Contains(o.Issue[0].Diagnostics, names) {
		t.Errorf("%s: %d, want %d and an OperationOutcome naming %s: %.300s", what, code, want, names, body)
	}
}

func (d *demoRun) takenAddresses(t *testing.T) {
	other := t.TempDir()
	config := d.config(t, nil, "data: "+filepath.Join(d.work, "data"), "data: "+filepath.Join(other, "data"))
	exit, out := tool(t, nil, "demo", "--work", other, "--api", d.api, "--broker", freeAddr(t))
	wants(t, exit, out, d.api, "--api")
	exit, out = tool(t, nil, "demo", "--work", other, "--api", freeAddr(t), "--broker", d.broker)
	wants(t, exit, out, d.broker, "--broker")
	exit, out = tool(t, nil, "run", "--config", config)
	wants(t, exit, out, d.api, "--api")
	exit, out = tool(t, nil, "run", "--config", config, "--api", freeAddr(t))
	wants(t, exit, out, d.broker, "--broker")
	exit, out = tool(t, nil, "demo", "--work", d.work, "--api", freeAddr(t), "--broker", freeAddr(t))
	wants(t, exit, out, d.work, "runs", d.env["PID"], "--work")
	exit, out = tool(t, nil, "demo", "--work", d.work, "--clean")
	wants(t, exit, out, d.work, "runs", d.env["PID"])
}

// config writes a copy of the demo's configuration with some texts replaced.
func (d *demoRun) config(t *testing.T, folder *string, replace ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.work, "tributary.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(replace); i += 2 {
		if !strings.Contains(string(text), replace[i]) {
			t.Fatalf("the demo's configuration has no %q", replace[i])
		}
	}
	if folder != nil {
		text = append(text, "\nmappings: "+*folder+"\n"...)
	}
	path := filepath.Join(t.TempDir(), "tributary.yaml")
	if err := os.WriteFile(path, []byte(strings.NewReplacer(replace...).Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (d *demoRun) badMappings(t *testing.T) {
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS("../mappings")); err != nil {
		t.Fatal(err)
	}
	corpus, err := os.ReadFile("testdata/check/mappings.txt")
	if err != nil {
		t.Fatal(err)
	}
	var findings []string
	for line := range strings.Lines(string(corpus)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		part := strings.Split(strings.TrimSpace(line), " | ")
		if len(part) != 4 {
			t.Fatalf("%q is no case", line)
		}
		file := filepath.Join(folder, part[0])
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), part[1]) {
			t.Fatalf("%s has no %q: %v", part[0], part[1], err)
		}
		indented := strings.ReplaceAll(part[2], "}, emr", "}\n  emr")
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), part[1], indented, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		findings = append(findings, regexp.QuoteMeta(file)+`:\d+:\d+: .*`+regexp.QuoteMeta(part[3]))
	}
	if len(findings) == 0 {
		t.Fatal("the corpus is empty")
	}
	exit, out := tool(t, nil, "check", "--config", d.config(t, &folder))
	wants(t, exit, out, `did you mean "status"?`, `did you mean "code"?`, "public.nosuch")
	for _, f := range findings {
		if !regexp.MustCompile(f).MatchString(out) {
			t.Errorf("nothing says %s\n%s", f, out)
		}
	}
}

// badSettings has three sources that are wrong in three ways: all are told at
// once, with the statements that mend them.
func (d *demoRun) badSettings(t *testing.T) {
	exec1(t, d.pg, "ALTER TABLE immunizations REPLICA IDENTITY DEFAULT")
	exec1(t, d.maria, "SET GLOBAL binlog_format = 'STATEMENT'")
	exit, out := tool(t, nil, "check", "--config", filepath.Join(d.work, "tributary.yaml"))
	wants(t, exit, out,
		`replica identity hides patient`, `ALTER TABLE "public"."immunizations" REPLICA IDENTITY FULL`,
		"binlog_format is STATEMENT", "SET GLOBAL binlog_format=ROW")
	exec1(t, d.pg, "ALTER TABLE immunizations REPLICA IDENTITY FULL")
	exec1(t, d.maria, "SET GLOBAL binlog_format = 'ROW'")
	if exit, out := tool(t, nil, "check", "--config", filepath.Join(d.work, "tributary.yaml")); exit != 0 {
		t.Errorf("after mending: exit %d\n%s", exit, out)
	}
}

func (d *demoRun) slotDropped(t *testing.T) {
	d.kill()
	d.await("the slot to be free", 20*time.Second, func() bool {
		return column(t, d.pg, "SELECT active::text FROM pg_replication_slots WHERE slot_name = 'tributary_emr'")[0] == "false"
	})
	exec1(t, d.pg, "SELECT pg_drop_replication_slot('tributary_emr')")
	patient := column(t, d.pg, "SELECT id::text FROM patients ORDER BY id LIMIT 1")[0]
	exec1(t, d.pg, "UPDATE patients SET first = 'Meanwhile' WHERE id::text = $1", patient)
	exec1(t, d.pg, "DELETE FROM immunizations WHERE id = (SELECT id FROM immunizations ORDER BY id LIMIT 1)")
	d.lost(t, "emr")
	d.recovers(t, "emr")
	name := column(t, d.pg, "SELECT last FROM patients WHERE id::text = $1", patient)[0]
	var found int
	for _, raw := range d.all("/Patient?name=Meanwhile") {
		var p struct{ ID string }
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatal(err)
		}
		found++
		_, _, body := d.get("/Patient/" + p.ID + "/_history")
		var b bundle
		if err := json.Unmarshal(body, &b); err != nil || len(b.Entry) != 2 || !strings.Contains(string(body), name) {
			t.Errorf("the history has %d versions, want 2: %v", len(b.Entry), err)
		}
	}
	if found != 1 {
		t.Errorf("%d members are called Meanwhile", found)
	}
}

func (d *demoRun) binlogPurged(t *testing.T) {
	d.kill()
	exec1(t, d.maria, "DELETE FROM fills ORDER BY id LIMIT 3")
	exec1(t, d.maria, "UPDATE medications SET description = 'Meanwhile' ORDER BY id LIMIT 2")
	// The dead process's connection holds on to a file for a while.
	d.await("the binlog to be purged", 30*time.Second, func() bool {
		exec1(t, d.maria, "FLUSH BINARY LOGS")
		files := column2(t, d.maria, "SHOW BINARY LOGS")
		exec1(t, d.maria, "PURGE BINARY LOGS TO '"+files[len(files)-1]+"'")
		return len(column2(t, d.maria, "SHOW BINARY LOGS")) == 1
	})
	d.lost(t, "pharmacy")
	d.recovers(t, "pharmacy")
}

// column2 is the first of two columns.
func column2(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var first, second string
		if err := rows.Scan(&first, &second); err != nil {
			t.Fatal(err)
		}
		all = append(all, first)
	}
	return all
}

// lost starts the demo and expects it to stop: changes of the source are gone.
func (d *demoRun) lost(t *testing.T, source string) {
	t.Helper()
	d.start()
	select {
	case <-d.exited:
	case <-time.After(time.Minute):
		t.Fatalf("the demo goes on though changes of %s are lost", source)
	}
	out := d.printed()
	wants(t, d.cmd.ProcessState.ExitCode(), out, "source "+source, "tributary run --config", "--resnapshot "+source)
	span := regexp.MustCompile(`from (\S+) to (\S+) are lost|the log after (.+) is gone, the server's begins with (\S+)`).FindStringSubmatch(out)
	if span == nil || span[1]+span[3] == span[2]+span[4] {
		t.Errorf("nothing says from where to where changes are lost:\n%s", out)
	}
	if _, err := os.Stat(filepath.Join(d.work, "demo.env")); err == nil {
		t.Error("demo.env says that the demo runs")
	}
	d.cmd = nil
}

// recovers takes the new snapshot as the error says, and expects that nothing
// differs from the sources afterwards.
func (d *demoRun) recovers(t *testing.T, source string) {
	t.Helper()
	config := filepath.Join(d.work, "tributary.yaml")
	cmd := exec.Command(binary, "run", "--config", config, "--resnapshot", source)
	d.output = &safeBuffer{}
	cmd.Stdout, cmd.Stderr = d.output, d.output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	d.cmd, d.exited = cmd, exited
	go func() {
		d.err = cmd.Wait()
		close(exited)
	}()
	d.await("the new snapshot of "+source, 2*time.Minute, func() bool {
		select {
		case <-exited:
			t.Fatalf("run --resnapshot ended: %v\n%s", d.err, d.printed())
		default:
		}
		resp, err := http.Get("http://" + d.api + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	if exit, out := tool(t, []string{"TRIBUTARY_KEY=" + d.env["OPERATOR_KEY"]},
		"verify", "--config", config, "--fhir", "http://"+d.api+"/fhir"); exit != 0 {
		t.Errorf("verify: exit %d\n%s", exit, out)
	}
	d.rowsAgree(t)
}

// A folder of data that lacks a table or has a bad cell is refused by name, and
// a demo that is stopped while it loads goes on at the next start.
func TestBadData(t *testing.T) {
	t.Parallel()
	d := emptyDemo(t)
	for _, c := range []struct {
		what  string
		spoil func(folder string) error
		wants []string
	}{
		{"a table is missing", func(f string) error { return os.Remove(filepath.Join(f, "patients.csv.gz")) }, []string{"patients.csv"}},
		{"a bad cell", func(f string) error {
			return os.WriteFile(filepath.Join(f, "allergies.csv"), []byte(badAllergies), 0o600)
		}, []string{"allergies.csv", "line 3 column START"}},
	} {
		folder := t.TempDir()
		if err := os.CopyFS(folder, os.DirFS("../testdata/synthea")); err != nil {
			t.Fatal(err)
		}
		if err := c.spoil(folder); err != nil {
			t.Fatal(err)
		}
		if c.what == "a bad cell" {
			_ = os.Remove(filepath.Join(folder, "allergies.csv.gz"))
		}
		exit, out := tool(t, nil, "demo", "--work", d.work, "--data", folder, "--api", d.api, "--broker", d.broker)
		t.Run(c.what, func(t *testing.T) { wants(t, exit, out, c.wants...) })
	}
	for _, at := range []string{"loading", "snapshot"} {
		d.start()
		d.await("the demo to be "+at, time.Minute, func() bool { return strings.Contains(d.printed(), at) })
		if err := d.stop(); err != nil {
			t.Errorf("stopped while %s: %v\n%s", at, err, d.printed())
		}
		if _, err := os.Stat(filepath.Join(d.work, "demo.env")); err == nil {
			t.Errorf("stopped while %s: demo.env is left", at)
		}
	}
	d.start()
	d.ready()
	if exit, out := d.verify(); exit != 0 {
		t.Errorf("verify: exit %d\n%s", exit, out)
	}
}

var badAllergies = fmt.Sprintf("%s\n%s\n%s\n",
	"START,STOP,PATIENT,ENCOUNTER,CODE,SYSTEM,DESCRIPTION,TYPE,CATEGORY,REACTION1,DESCRIPTION1,SEVERITY1,REACTION2,DESCRIPTION2,SEVERITY2",
	"1990-01-01,,b0000000-0000-4000-8000-000000000001,b0000000-0000-4000-8000-000000000002,1,RxNorm,a,allergy,food,,,,,,",
	"19x0-01-01,,b0000000-0000-4000-8000-000000000001,b0000000-0000-4000-8000-000000000002,1,RxNorm,a,allergy,food,,,,,,")
