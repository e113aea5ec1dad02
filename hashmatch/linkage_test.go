package hashmatch_test

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/hashmatch"
)

// linkage is the folder of public record linkage data, beside the checkout.
var linkage = filepath.Join("..", "..", "shared", "data", "linkage")

// readCSV returns a file's rows by column name.
func readCSV(t *testing.T, name string) []map[string]string {
	t.Helper()
	f, err := os.Open(filepath.Join(linkage, name))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no record linkage data beside the checkout (%s)", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.TrimLeadingSpace = true
	all, err := r.ReadAll()
	if err != nil || len(all) < 2 {
		t.Fatalf("%s: %d rows, %v", name, len(all), err)
	}
	var rows []map[string]string
	for _, record := range all[1:] {
		row := map[string]string{}
		for i, column := range all[0] {
			row[column] = strings.TrimSpace(record[i])
		}
		rows = append(rows, row)
	}
	return rows
}

func lastFour(s string) string { return s[max(0, len(s)-4):] }

// febrl is a row of FEBRL data set 4. It has no sex and no phone; the end of
// soc_sec_id stands for the last four digits.
func febrl(row map[string]string) hashmatch.Demographics {
	return hashmatch.Demographics{
		Names:     []hashmatch.Name{{Family: row["surname"], Given: []string{row["given_name"]}}},
		BirthDate: row["date_of_birth"],
		Addresses: []hashmatch.Address{{Line: row["street_number"] + " " + row["address_1"], ZIP: row["postcode"]}},
		SSN:       lastFour(row["soc_sec_id"]),
	}
}

func byPerson(rows []map[string]string) map[string]hashmatch.Demographics {
	people := map[string]hashmatch.Demographics{}
	for _, row := range rows {
		people[strings.Split(row["rec_id"], "-")[1]] = febrl(row)
	}
	return people
}

// febrlAccuracy asks about all of B with half of A as members.
func febrlAccuracy(t *testing.T, a, b map[string]hashmatch.Demographics, seed uint64) accuracy {
	var ids []string
	for id := range a {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	members := newPanel(testKey(t))
	is := map[string]bool{}
	for i, member := range half(len(ids), seed) {
		if is[ids[i]] = member; member {
			members.add(ids[i], a[ids[i]])
		}
	}
	var got accuracy
	for id, d := range b {
		member := ""
		if is[id] {
			member = id
		}
		got.count(members.ask(t, d), member)
	}
	return got
}

// In an open world half of those asked about are nobody's members: no stranger
// may be taken for one.
func TestAccuracyFEBRL(t *testing.T) {
	a, b := byPerson(readCSV(t, "febrl4a.csv")), byPerson(readCSV(t, "febrl4b.csv"))
	for seed := uint64(1); seed <= 3; seed++ {
		got := febrlAccuracy(t, a, b, seed)
		t.Log(got.row("FEBRL4"), got.reasons)
		if got.falseMatch > 1 || got.strangers < 2400 {
			t.Errorf("seed %d: %d of %d strangers and members were named wrongly, want at most 1", seed, got.falseMatch, got.strangers)
		}
		if got.recall() < febrlBar {
			t.Errorf("seed %d: recall %.4f, want %.2f", seed, got.recall(), febrlBar)
		}
	}
}

// febrlBar is what is reached, less a little: docs/matching.md says what is not.
const febrlBar = 0.91

// overlap asks about all of the second population with half of the first as
// members. The project's own rule says who is in both: the same nine digits.
func TestAccuracyOverlap(t *testing.T) {
	a, b := readCSV(t, "openlinktoken-test_overlap1.csv"), readCSV(t, "openlinktoken-test_overlap2.csv")
	for seed := uint64(1); seed <= 2; seed++ {
		members := newPanel(testKey(t))
		is := map[string]string{}
		for i, member := range half(len(a), seed) {
			if member {
				// Some are in the population several times: they are one member.
				id := a[i]["SocialSecurityNumber"]
				is[id] = id
				members.add(id, overlapPerson(a[i]))
			}
		}
		var got accuracy
		for _, row := range b {
			got.count(members.ask(t, overlapPerson(row)), is[row["SocialSecurityNumber"]])
		}
		t.Log(got.row("OpenLinkToken overlap"), got.reasons)
		if got.falseMatch > 0 || got.recall() < 0.99 || got.members < 200 {
			t.Errorf("seed %d: %d named wrongly, recall %.4f of %d", seed, got.falseMatch, got.recall(), got.members)
		}
	}
}

func overlapPerson(row map[string]string) hashmatch.Demographics {
	return hashmatch.Demographics{
		Names:     []hashmatch.Name{{Family: row["LastName"], Given: []string{row["FirstName"]}}},
		BirthDate: row["BirthDate"], Sex: row["Sex"], SSN: row["SocialSecurityNumber"],
		Addresses: []hashmatch.Address{{ZIP: row["PostalCode"]}},
	}
}

// groupBars are the least recall of each group of the made-up population, and
// all of its groups.
var groupBars = map[string]float64{
	"one alone": 0.90, "Spanish double name": 0.90, "letters beyond ASCII": 0.90, "another script": 0.88,
	"nickname": 0.88, "twins": 0.88, "junior and senior": 0.88, "household": 0.88,
}

// A population of the test's own, half of whom are members, by kinds of people:
// no twin, no junior and nobody of the household is taken for the member.
func TestAccuracyByGroup(t *testing.T) {
	got := map[string]*accuracy{}
	var whole accuracy
	for seed := uint64(1); seed <= 2; seed++ {
		everybody := people(seed, 300)
		members := newPanel(testKey(t))
		is := half(len(everybody), seed)
		for i, s := range everybody {
			if is[i] {
				members.add(fmt.Sprint(i), s.member)
			}
		}
		for i, s := range everybody {
			id := ""
			if is[i] {
				id = fmt.Sprint(i)
			}
			v := members.ask(t, s.asked)
			if got[s.group] == nil {
				got[s.group] = &accuracy{}
			}
			got[s.group].count(v, id)
			whole.count(v, id)
		}
	}
	if len(got) != len(groupBars) {
		t.Fatalf("%d groups, want %d", len(got), len(groupBars))
	}
	for _, group := range slices.Sorted(maps.Keys(got)) {
		a := got[group]
		t.Log(a.row(group))
		if a.recall() < groupBars[group] || a.members < 200 || a.strangers < 200 {
			t.Errorf("%s: recall %.4f of %d, want %.2f", group, a.recall(), a.members, groupBars[group])
		}
	}
	t.Log(whole.row("all"), whole.reasons)
	if whole.falseMatch > whole.strangers/2500 {
		t.Errorf("%d named wrongly, %d strangers asked", whole.falseMatch, whole.strangers)
	}
}
