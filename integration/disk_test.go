package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A disk that fills up stops what would write, in time for what is in flight,
// and says so; when there is room again everything goes on, and nothing is
// missing.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	d := newDemo(t)
	data := filepath.Join(d.work, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=2600m"); err != nil {
		if err := os.Remove(data); err != nil { // no demo made it, so none would remove it
			t.Error(err)
		}
		t.Skipf("NOT TESTED: a small disk cannot be mounted here (%v); run as root", err)
	}
	t.Cleanup(func() { // before the demo is removed
		d.kill()
		if err := syscall.Unmount(data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	d.start()
	d.ready()
	fill := filepath.Join(data, "fill")
	fillUp(t, fill)
	patient := column(t, d.pg, "SELECT id::text FROM patients ORDER BY id LIMIT 1")[0]
	id := d.patientIDs(t)[patient]
	exec1(t, d.pg, "UPDATE patients SET phone = '(781) 555-0199 ext 77' WHERE id = $1", patient)
	exec1(t, d.maria, "UPDATE medications SET description = 'changed on a full disk' WHERE patient = ?", patient)
	d.await("the process to say that it is behind", time.Minute, func() bool {
		code, _, _, err := d.tryGet("http://" + d.api + "/readyz")
		return err == nil && code == http.StatusServiceUnavailable
	})
	select {
	case <-d.exited:
		t.Fatalf("the process ended: %v\n%s", d.err, d.printed())
	default:
	}
	if code, _, body := d.get("/Patient/" + id); code != http.StatusOK || strings.Contains(string(body), "(781) 555-0199 ext 77") {
		t.Errorf("on the full disk: %d %.300s", code, body)
	}
	if log, err := os.ReadFile(filepath.Join(d.work, "tributary.log")); err != nil || !strings.Contains(string(log), "disk space") {
		t.Errorf("the log does not speak of the disk: %v\n%s", err, log)
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	d.ready()
	if code, _, body := d.get("/Patient/" + id); code != http.StatusOK || !strings.Contains(string(body), "(781) 555-0199 ext 77") {
		t.Errorf("with room again: %d %.300s", code, body)
	}
	if exit, out := d.verify(); exit != 0 {
		t.Errorf("verify: exit %d\n%s", exit, out)
	}
	d.topicAgrees(t, d.readTopic(t))
}

// fillUp takes the disk's room to the last byte.
func fillUp(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for {
		if _, err := f.Write(block); err != nil {
			return
		}
	}
}
