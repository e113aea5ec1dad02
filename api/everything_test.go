package api_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/fhir"
)

// recordOf makes a member with visits at four clinics, and a neighbour who goes
// to one of them and is named in the member's coverage.
func recordOf(s *fakeStore, visits int) {
	put := func(member, typ, id, rest string) {
		s.stage(1, member, fhir.ResourceID{Type: typ, ID: id}, fmt.Appendf(nil, `{"resourceType":%q,"id":%q,"meta":{},%s}`, typ, id, rest), time.Unix(1e9, 0))
	}
	for i := range 5 {
		put("", "Organization", fmt.Sprint("clinic", i), fmt.Sprintf(`"name":"c","partOf":{"reference":"Organization/group%d"}`, i%2))
	}
	put("", "Organization", "group0", `"name":"g"`)
	put("", "Organization", "group1", `"name":"g","partOf":{"reference":"Organization/group0"}`) // not a chain without end
	put("p1", "Patient", "p1", `"gender":"male"`)
	put("p2", "Patient", "p2", `"gender":"female","managingOrganization":{"reference":"Organization/clinic4"}`)
	put("p1", "Coverage", "cov", `"beneficiary":{"reference":"Patient/p1"},"subscriber":{"reference":"Patient/p2"}`)
	for i := range visits {
		put("p1", "Encounter", fmt.Sprintf("e%03d", i), fmt.Sprintf(`"status":"finished","subject":{"reference":"Patient/p1"},"hospitalization":{"origin":{"reference":"Organization/clinic%d"}},"period":{"start":"20%02d"}`, i%4, 10+i%10))
	}
	put("p2", "Encounter", "other", `"subject":{"reference":"Patient/p2"},"serviceProvider":{"reference":"Organization/clinic4"}`)
	s.show(1)
}

// TestEverythingInPages wants pages of every size to give, together, what one
// page gives, each resource once and in one order, whatever is committed in
// between; and nothing of the neighbour.
func TestEverythingInPages(t *testing.T) {
	for count := 1; count < 40; count += 3 {
		store := newFakeStore()
		recordOf(store, 20)
		server := serve(t, testConfig(store))
		url := server.URL + "/fhir/Patient/p1/$everything"
		whole, _ := fetch(t, url, key)
		want := entryIDs(t, whole)
		if len(want) != 1+1+20+6 || *whole.Total != 22 || slices.Contains(want, "p2/1") || slices.Contains(want, "clinic4/1") {
			t.Fatalf("whole: %v, total %d", want, *whole.Total)
		}
		page, _ := fetch(t, fmt.Sprintf("%s?_count=%d", url, count), key)
		var found []string
		for commit := uint64(2); ; commit++ {
			found = append(found, entryIDs(t, page)...)
			if *page.Total != 22 {
				t.Errorf("count %d: total %d", count, *page.Total)
			}
			next := page.link("next")
			if next == "" {
				break
			}
			for _, e := range []string{"e000", "e019", "e010"} {
				content := fmt.Appendf(nil, `{"resourceType":"Encounter","id":%q,"meta":{},"serviceProvider":{"reference":"Organization/clinic4"}}`, e)
				if commit%2 == 0 {
					content = nil
				}
				store.stage(commit, "p1", fhir.ResourceID{Type: "Encounter", ID: e}, content, time.Unix(2e9, 0))
			}
			store.stage(commit, "", fhir.ResourceID{Type: "Organization", ID: "clinic1"}, []byte(`{"resourceType":"Organization","id":"clinic1","meta":{},"name":"other"}`), time.Unix(2e9, 0))
			store.show(commit)
			page, _ = fetch(t, next, key)
		}
		if !slices.Equal(found, want) {
			t.Errorf("count %d: pages give %v\nwant %v", count, found, want)
		}
	}
}

// TestEverythingNamesWhatIsThere wants every relative reference of the answer to
// lead to an entry of it, but for those into other members' records.
func TestEverythingNamesWhatIsThere(t *testing.T) {
	store := newFakeStore()
	recordOf(store, 9)
	server := serve(t, testConfig(store))
	_, body := send(t, "GET", server.URL+"/fhir/Patient/p1/$everything", nil)
	var bundle struct {
		Entry []struct {
			FullURL  string
			Resource json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &bundle); err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{"Patient/p2": true}
	for _, e := range bundle.Entry {
		there[strings.SplitN(e.FullURL, "/fhir/", 2)[1]] = true
	}
	named := 0
	for _, e := range bundle.Entry {
		for _, part := range strings.Split(string(e.Resource), `"reference":"`)[1:] {
			named++
			if ref, _, _ := strings.Cut(part, `"`); !there[ref] {
				t.Errorf("%s names %s, which is not there", e.FullURL, ref)
			}
		}
	}
	if named < 20 {
		t.Errorf("%d references", named)
	}
}

// TestLongFormIsPaged follows the links of a search whose form is longer than an
// address may be.
func TestLongFormIsPaged(t *testing.T) {
	store := orders(100)
	server := serve(t, testConfig(store))
	var all []string
	for i := range 900 {
		all = append(all, fmt.Sprintf("r%03d-%s", i, strings.Repeat("x", 50)))
	}
	for i := range 60 {
		all = append(all, fmt.Sprintf("r%03d", i))
	}
	resp, body := send(t, "POST", server.URL+"/fhir/MedicationRequest/_search", strings.NewReader("_count=7&_id="+strings.Join(all, ",")), "Content-Type", "application/x-www-form-urlencoded")
	var page got
	if err := json.Unmarshal(body, &page); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s %s", resp.Status, body)
	}
	found := entryIDs(t, page)
	for next := page.link("next"); next != ""; next = page.link("next") {
		if page, resp = fetch(t, next, key); resp.StatusCode != 200 {
			t.Fatalf("%s: %+v", resp.Status, page.Issue)
		}
		found = append(found, entryIDs(t, page)...)
	}
	if slices.Sort(found); len(slices.Compact(found)) != 60 {
		t.Errorf("%d found", len(found))
	}
}

// TestBounds wants what asks for too much to be refused by name.
func TestBounds(t *testing.T) {
	store := newFakeStore()
	recordOf(store, 6000)
	server := serve(t, testConfig(store))
	for name, query := range map[string]string{
		"_revinclude": "Patient?_id=p1&_revinclude=Encounter:patient",
		"_include":    "Encounter?patient=p1" + strings.Repeat("&_include=Encounter:patient", 33),
		"status":      "Encounter?patient=p1" + strings.Repeat("&status=finished", 65),
		"type":        "Encounter?status=" + strings.Repeat("a,", 600) + "a&type=" + strings.Repeat("a,", 600) + "a",
		"_elements":   "Encounter?_elements=" + strings.Repeat("status,", 100) + "status",
	} {
		g, resp := fetch(t, server.URL+"/fhir/"+query, key)
		if resp.StatusCode != 400 || len(g.Issue) != 1 || g.Issue[0].Code != "too-costly" || !strings.Contains(g.Issue[0].Diagnostics, `"`+name+`"`) {
			t.Errorf("%s: %s %+v", name, resp.Status, g.Issue)
		}
	}
	if store.opened != 0 {
		t.Errorf("%d views are not closed", store.opened)
	}
}
