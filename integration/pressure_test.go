package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// pressureHalves changes the rows of one blood pressure and watches what becomes
// of its Observation: with both rows there is one, whichever row changed.
func (d *demoRun) pressureHalves(t *testing.T) {
	pair := strings.Split(column(t, d.pg, strings.Replace(pairs, "count(*)", "s.id || ' ' || d.id || ' ' || s.value || ' ' || d.value", 1)+" ORDER BY 1 LIMIT 1")[0], " ")
	systolic, diastolic, high, low := pair[0], pair[1], pair[2], pair[3]
	exec := func(query string) func() {
		return func() {
			if _, err := d.pg.Exec(query); err != nil {
				t.Fatal(err)
			}
		}
	}
	keep := func(id string) (put func()) {
		row := column(t, d.pg, "SELECT row_to_json(o)::text FROM observations o WHERE id = $1", id)[0]
		return func() {
			if _, err := d.pg.Exec("INSERT INTO observations SELECT * FROM json_populate_record(NULL::observations, $1)", row); err != nil {
				t.Fatal(err)
			}
		}
	}
	putSystolic, putDiastolic := keep(systolic), keep(diastolic)
	both := "85354-9 8480-6=" + high + " 8462-4=" + low
	d.pressures(t, "at first", systolic, diastolic, both, both)
	for _, step := range []struct {
		what     string
		do       func()
		systolic string // found by the systolic row's key
		other    string // by the diastolic row's
	}{
		{"diastolic changed", exec("UPDATE observations SET value = '61.50' WHERE id = '" + diastolic + "'"),
			"85354-9 8480-6=" + high + " 8462-4=61.50", "85354-9 8480-6=" + high + " 8462-4=61.50"},
		{"diastolic deleted", exec("DELETE FROM observations WHERE id = '" + diastolic + "'"), "85354-9 8480-6=" + high + " 8462-4=unknown", ""},
		{"diastolic back", putDiastolic, both, both},
		{"systolic deleted", exec("DELETE FROM observations WHERE id = '" + systolic + "'"), "", "85354-9 8480-6=unknown 8462-4=" + low},
		{"systolic back", putSystolic, both, both},
		{"systolic in words", exec("UPDATE observations SET value = 'not taken', type = 'text' WHERE id = '" + systolic + "'"),
			"8480-6", "85354-9 8480-6=unknown 8462-4=" + low},
		{"systolic a number", exec("UPDATE observations SET value = '" + high + "', type = 'numeric' WHERE id = '" + systolic + "'"), both, both},
		{"both deleted", exec("DELETE FROM observations WHERE id IN ('" + systolic + "', '" + diastolic + "')"), "", ""},
	} {
		step.do()
		d.pressures(t, step.what, systolic, diastolic, step.systolic, step.other)
	}
}

// pressures waits until the Observations found by the two rows' keys are as
// wanted.
func (d *demoRun) pressures(t *testing.T, what, systolic, diastolic, byFirst, bySecond string) {
	t.Helper()
	want := []string{byFirst, bySecond}
	d.await(fmt.Sprintf("%s: %q", what, want), 20*time.Second, func() bool {
		return slices.Equal([]string{d.pressure(t, systolic), d.pressure(t, diastolic)}, want)
	})
}

// pressure is the Observation with a row's key in short: its code and its
// components with their values, or why they have none.
func (d *demoRun) pressure(t *testing.T, row string) string {
	t.Helper()
	type concept struct {
		Coding []struct {
			Code string `json:"code"`
		} `json:"coding"`
	}
	var b struct {
		Entry []struct {
			Resource struct {
				Code      concept `json:"code"`
				Component []struct {
					Code   concept                      `json:"code"`
					Value  *struct{ Value json.Number } `json:"valueQuantity"`
					Absent concept                      `json:"dataAbsentReason"`
				} `json:"component"`
			} `json:"resource"`
		} `json:"entry"`
	}
	code, _, body := d.get("/Observation?identifier=urn:tributary:sample:observation%7C" + row)
	if err := json.Unmarshal(body, &b); err != nil || code != http.StatusOK || len(b.Entry) > 1 {
		t.Fatalf("%d %v %.300s", code, err, body)
	}
	if len(b.Entry) == 0 {
		return ""
	}
	o := b.Entry[0].Resource
	text := o.Code.Coding[0].Code
	for _, c := range o.Component {
		value := ""
		if c.Value != nil {
			value = c.Value.Value.String()
		} else {
			value = c.Absent.Coding[0].Code
		}
		text += fmt.Sprintf(" %s=%s", c.Code.Coding[0].Code, value)
	}
	return text
}
