package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// What the test adds to the sample mappings: a resource that fails for a member
// who lives nowhere.
const failing = `
resource: Flag
from: emr.patients
body:
  status: '= row.city == "Nowhere" ? fail("nobody lives there") : row.city == "Nirgends" ? fail("nor there") : "active"'
  code: {text: "has a place to live"}
  subject: {reference: '= ref("Patient", "emr.patients", row.id)'}
---
resource: Endpoint
from: emr.organizations
body:
  status: '= row.city == "Nowhere" ? fail("nothing stands there") : "active"'
  connectionType: {system: "http://example.org/kinds", code: post}
  payloadType: [{text: letters}]
  address: '= "mailto:" + row.id'
`

// A member that cannot be composed stays whole as it was, and nobody else does.
// The log says so once for each reason, by the id that the API uses. verify
// compares everybody else, finds what is wrong with them, says who is not
// compared, and does not call that agreement.
func TestParkedMember(t *testing.T) {
	t.Parallel()
	d := composedDemo(t)
	d.start()
	d.ready()
	d.kill()
	d.launch("run", "--config", d.addMapping(t, failing))
	d.ready()

	patients := column(t, d.pg, "SELECT id::text FROM patients ORDER BY id LIMIT 2")
	ids := d.patientIDs(t)
	parked, other := "Patient/"+ids[patients[0]], "Patient/"+ids[patients[1]]
	_, _, before := d.get("/" + parked)
	exec1(t, d.pg, "UPDATE patients SET city = 'Nowhere' WHERE id = $1", patients[0])
	for n := range 5 {
		for _, p := range patients {
			exec1(t, d.pg, "UPDATE patients SET phone = $2 WHERE id = $1", p, fmt.Sprintf("(781) 555-01%02d", n))
		}
	}
	d.ready()
	if _, _, body := d.get("/" + parked); string(body) != string(before) {
		t.Errorf("a parked member changed: %.300s", body)
	}
	if _, _, body := d.get("/" + other); !strings.Contains(string(body), "(781) 555-0104") {
		t.Errorf("another member stands still: %.300s", body)
	}
	d.toldOnce(t, parked, "nobody lives there", 1)
	exit, out := d.verify()
	wants(t, exit, out, " 0 differences", "parked, not compared: "+parked+": ", "nobody lives there")
	if strings.Contains(out, patients[0]) {
		t.Error("verify shows the member's source key")
	}

	// Behind the log: the one who is parked is not compared, the other is.
	exec1(t, d.pg, "ALTER PUBLICATION tributary_emr DROP TABLE patients")
	for _, p := range patients {
		exec1(t, d.pg, "UPDATE patients SET address = 'Elsewhere 1' WHERE id = $1", p)
	}
	exec1(t, d.pg, "ALTER PUBLICATION tributary_emr ADD TABLE patients")
	exit, out = d.verify("--tries", "2")
	wants(t, exit, out, other+": different", "parked, not compared: "+parked+": ")
	if strings.Contains(out, parked+": different") {
		t.Errorf("a parked member was compared:\n%s", out)
	}

	// A reference row parks alone, with all resources that are made of it.
	exec1(t, d.pg, "UPDATE organizations SET city = 'Nowhere' WHERE id = (SELECT min(id::text)::uuid FROM organizations)")
	d.ready()
	exit, out = d.verify("--tries", "2")
	wants(t, exit, out, " 1 differences", "parked, not compared: Organization/", "parked, not compared: Endpoint/", "nothing stands there")
	if strings.Contains(out, "ghost") {
		t.Errorf("what is served of a parked row is called a ghost:\n%s", out)
	}
	exec1(t, d.pg, "UPDATE organizations SET city = 'Boston' WHERE city = 'Nowhere'")
	exec1(t, d.pg, "UPDATE patients SET city = 'Nirgends' WHERE id = $1", patients[0])
	d.ready()
	d.toldOnce(t, parked, "nor there", 3) // with the organization
	for _, p := range patients {
		exec1(t, d.pg, "UPDATE patients SET city = 'Boston' WHERE id = $1", p)
	}
	d.ready()
	if out := d.printed(); !strings.Contains(out, "composed again\" root="+parked) {
		t.Errorf("nothing says that %s is composed again:\n%s", parked, tail(out, 2000))
	}
	if exit, out := d.verify(); exit != 0 {
		t.Errorf("verify after mending: exit %d\n%s", exit, out)
	}
}

// toldOnce expects one warning with the root and the reason among so many, and
// nothing of the member's source key in the log.
func (d *demoRun) toldOnce(t *testing.T, root, reason string, among int) {
	t.Helper()
	said := func() (of, all int) {
		for line := range strings.Lines(d.printed()) {
			if strings.Contains(line, "a root is parked") {
				all++
				if strings.Contains(line, "root="+root) && strings.Contains(line, reason) {
					of++
				}
			}
		}
		return of, all
	}
	d.await("the log to name the parked root", 10*time.Second, func() bool { of, _ := said(); return of > 0 })
	if of, all := said(); of != 1 || all != among {
		t.Errorf("%d warnings, %d of them of %s for %q; want %d and 1:\n%s", all, of, root, reason, among, tail(d.printed(), 3000))
	}
}
