package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// swap is what the atomicity test changes: a pair of orders of one member of
// which one is always active, and a fill that always belongs to one of two
// members.
type swap struct {
	members  [2]string // source keys
	patients [2]string // resource ids
	pair     [2]string // orders of members[0]: one of them is active
	orders   [2]string // an open order of each member
	fill     string    // the only fill of one of orders
}

// A transaction that stops one medication and starts another, and one that
// moves a fill from one member to another, while readers poll: none ever sees
// both or none.
func TestAtomicity(t *testing.T) {
	t.Parallel()
	d := composedDemo(t)
	d.start()
	d.ready()
	s := d.prepareSwap(t)
	transactions := fromEnv("TRIBUTARY_TRANSACTIONS", 100)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var readers sync.WaitGroup
	var reads atomic.Int64
	for name, check := range map[string]func(*swap) error{
		"profile": d.checkProfile, "search": d.checkSearch, "across members": d.checkAcross, "both profiles": d.checkBothProfiles,
	} {
		readers.Go(func() {
			for ctx.Err() == nil {
				if err := check(s); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				reads.Add(1)
			}
		})
	}
	for n := range transactions {
		d.swapOrders(t, s, n)
		d.moveFill(t, s, n)
		if t.Failed() {
			break
		}
	}
	d.ready()
	stop()
	readers.Wait()
	t.Logf("%d transactions of each kind, %d reads", transactions, reads.Load())
	if reads.Load() < 100 {
		t.Errorf("only %d reads: the readers did not look", reads.Load())
	}
	all := d.readTopic(t)
	d.topicAgrees(t, all)
	d.topicIsAtomic(t, all, s, transactions)
	if exit, out := d.verify(); exit != 0 {
		t.Errorf("verify: exit %d\n%s", exit, out)
	}
}

func (d *demoRun) prepareSwap(t *testing.T) *swap {
	t.Helper()
	members := column(t, d.maria, "SELECT DISTINCT patient FROM medications ORDER BY patient")
	ids := d.patientIDs(t)
	s := &swap{members: [2]string{members[0], members[1]}, fill: "00000000-0000-8000-8000-0000000000f1"}
	s.patients = [2]string{ids[members[0]], ids[members[1]]}
	add := func(id, member, stop string) string {
		exec1(t, d.maria, `INSERT INTO medications (id, start, stop, patient, payer, encounter, code, description, base_cost,
			payer_coverage, dispenses, totalcost, prescriber)
			SELECT ?, start, `+stop+`, ?, payer, encounter, code, description, base_cost, payer_coverage, 1, totalcost, prescriber
			FROM medications WHERE patient = ? ORDER BY id LIMIT 1`, id, member, member)
		return id
	}
	s.pair = [2]string{add("00000000-0000-8000-8000-0000000000a1", members[0], "NULL"), add("00000000-0000-8000-8000-0000000000a2", members[0], "'2026-11-20 00:00:00'")}
	s.orders = [2]string{add("00000000-0000-8000-8000-0000000000b1", members[0], "NULL"), add("00000000-0000-8000-8000-0000000000b2", members[1], "NULL")}
	exec1(t, d.maria, `INSERT INTO fills (id, medication, patient, organization, dispensed, refill_number, days_supply, quantity, daw, code)
		SELECT ?, ?, ?, organization, '2026-11-20 00:00:00', 0, 30, 30, 0, code FROM fills LIMIT 1`, s.fill, s.orders[0], s.members[0])
	d.ready()
	return s
}

// swapOrders stops the one order of the pair and starts the other.
func (d *demoRun) swapOrders(t *testing.T, s *swap, n int) {
	t.Helper()
	from, to := n%2, 1-n%2
	d.inTransaction(t,
		fmt.Sprintf("UPDATE medications SET stop = '2026-11-20 00:00:00' WHERE id = '%s'", s.pair[from]),
		fmt.Sprintf("UPDATE medications SET stop = NULL WHERE id = '%s'", s.pair[to]))
}

// moveFill takes the fill from the one member to the other.
func (d *demoRun) moveFill(t *testing.T, s *swap, n int) {
	t.Helper()
	to := 1 - n%2
	d.inTransaction(t, fmt.Sprintf("UPDATE fills SET patient = '%s', medication = '%s' WHERE id = '%s'", s.members[to], s.orders[to], s.fill))
}

func (d *demoRun) inTransaction(t *testing.T, statements ...string) {
	t.Helper()
	tx, err := d.maria.Begin()
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range statements {
		if _, err := tx.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func (d *demoRun) profileAt(patient, commit string) (lines []string, at string, err error) {
	var header []string
	if commit != "" {
		header = []string{"Tributary-Commit", commit}
	}
	code, h, body, err := d.tryGet("/Patient/"+patient+"/$medication-profile", header...)
	if err != nil || code != http.StatusOK {
		return nil, "", fmt.Errorf("status %d, %v, %.200s", code, err, body)
	}
	lines, err = profileOf(body)
	return lines, h.Get("Tributary-Commit"), err
}

func one(what string, a, b bool) error {
	if a == b {
		return fmt.Errorf("%s: both or none (%v)", what, a)
	}
	return nil
}

func (d *demoRun) checkProfile(s *swap) error {
	lines, _, err := d.profileAt(s.patients[0], "")
	if err != nil {
		return err
	}
	return one("active orders", slices.Contains(lines, "order active "+s.pair[0]), slices.Contains(lines, "order active "+s.pair[1]))
}

func (d *demoRun) checkBothProfiles(s *swap) error {
	a, commit, err := d.profileAt(s.patients[0], "")
	if err != nil {
		return err
	}
	b, _, err := d.profileAt(s.patients[1], commit)
	if err != nil {
		return err
	}
	return one("fill in the members' profiles at commit "+commit, slices.Contains(a, "fill "+s.fill), slices.Contains(b, "fill "+s.fill))
}

// found are the source keys that a search finds.
func (d *demoRun) found(query, system string) ([]string, error) {
	code, _, body, err := d.tryGet(query)
	var b bundle
	if err != nil || code != http.StatusOK || json.Unmarshal(body, &b) != nil {
		return nil, fmt.Errorf("status %d, %v, %.200s", code, err, body)
	}
	var keys []string
	for _, raw := range b.Entry {
		var e entry
		if err := json.Unmarshal(raw.Resource, &e); err != nil {
			return nil, err
		}
		keys = append(keys, e.row(system))
	}
	return keys, nil
}

func (d *demoRun) checkSearch(s *swap) error {
	keys, err := d.found("/MedicationRequest?_count=1000&status=active&patient="+s.patients[0], "medication-order")
	if err != nil {
		return err
	}
	return one("active orders found", slices.Contains(keys, s.pair[0]), slices.Contains(keys, s.pair[1]))
}

func (d *demoRun) checkAcross(s *swap) error {
	keys, err := d.found("/MedicationDispense?identifier="+s.fill, "fill")
	if err != nil {
		return err
	}
	if len(keys) != 1 {
		return fmt.Errorf("the fill is found %d times", len(keys))
	}
	keys, err = d.found("/MedicationRequest?identifier="+s.pair[0]+","+s.pair[1]+"&status=active", "medication-order")
	if err == nil && len(keys) != 1 {
		err = fmt.Errorf("%d of the pair are active", len(keys))
	}
	return err
}

// topicIsAtomic reads the topic by complete transactions, in commit order.
func (d *demoRun) topicIsAtomic(t *testing.T, all []change, s *swap, transactions int) {
	t.Helper()
	byCommit := map[uint64][]change{}
	for _, c := range all {
		n := c.number("tributary-commit")
		byCommit[n] = append(byCommit[n], c)
	}
	var order []uint64
	for n := range byCommit {
		order = append(order, n)
	}
	slices.Sort(order)
	status := map[string]string{} // of the pair
	subject := ""
	swaps, moves := 0, 0
	for _, n := range order {
		swapped, moved := false, false
		records := byCommit[n]
		sort.Slice(records, func(i, j int) bool {
			return records[i].number("tributary-index") < records[j].number("tributary-index")
		})
		for _, c := range records {
			var e struct {
				entry
				Subject struct{ Reference string } `json:"subject"`
			}
			if len(c.value) == 0 {
				continue
			}
			if err := json.Unmarshal(c.value, &e.entry); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(e.Raw["subject"], &e.Subject); len(e.Raw["subject"]) > 0 && err != nil {
				t.Fatal(err)
			}
			if key := e.row("medication-order"); key == s.pair[0] || key == s.pair[1] {
				status[key], swapped = e.Status, true
			}
			if e.row("fill") == s.fill {
				subject, moved = strings.TrimPrefix(e.Subject.Reference, "Patient/"), true
			}
		}
		if swapped && len(status) == 2 {
			swaps++
			if err := one("pair after commit "+fmt.Sprint(n), status[s.pair[0]] == "active", status[s.pair[1]] == "active"); err != nil {
				t.Fatal(err)
			}
		}
		if moved {
			moves++
			if subject != s.patients[0] && subject != s.patients[1] {
				t.Fatalf("commit %d: the fill belongs to %q", n, subject)
			}
		}
	}
	if swaps < transactions || moves < transactions {
		t.Errorf("the topic has %d swaps and %d moves of %d each", swaps, moves, transactions)
	}
}
