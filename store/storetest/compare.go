package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

// compareState compares what composition reads: row state, heads, resources,
// parked roots, staged ones included.
func compareState(t testing.TB, s Store, m *model) {
	t.Helper()
	for _, table := range tables {
		want := m.sortedRows(table)
		var got []rowID
		must(t, s.AllRows(table, "", "", func(route, key string, body []byte) bool {
			id := rowID{table, route, key}
			got = append(got, id)
			equal(t, "AllRows body", string(body), string(m.rows[id]))
			return true
		}))
		equal(t, "AllRows "+table.String(), got, want)
		comparePages(t, s, table, want)
		compareRoutes(t, s, m, table, want)
	}
	for _, kind := range types {
		for _, id := range ids {
			compareHead(t, s, m, fhir.ResourceID{Type: kind, ID: id})
		}
	}
	for _, member := range members {
		compareResources(t, s, m, member)
	}
	for _, kind := range types {
		compareLiving(t, s, m, kind)
	}
	compareParked(t, s, m)
}

func comparePages(t testing.TB, s Store, table change.Table, want []rowID) {
	t.Helper()
	for i, from := range want {
		if from.route == "" && from.key == "" {
			continue // means the start
		}
		n := 0
		must(t, s.AllRows(table, from.route, from.key, func(route, key string, _ []byte) bool {
			equal(t, "AllRows after a row", rowID{table, route, key}, want[i+1+n])
			n++
			return n < 2
		}))
		equal(t, "AllRows after a row, count", n, min(2, len(want)-i-1))
	}
}

func compareRoutes(t testing.TB, s Store, m *model, table change.Table, want []rowID) {
	t.Helper()
	var wantRoutes, gotRoutes []string
	for _, id := range want {
		if n := len(wantRoutes); n == 0 || wantRoutes[n-1] != id.route {
			wantRoutes = append(wantRoutes, id.route)
		}
	}
	must(t, s.Routes(table, func(route string) bool { gotRoutes = append(gotRoutes, route); return true }))
	equal(t, "Routes "+table.String(), gotRoutes, wantRoutes)
	for _, route := range routes {
		var got []rowID
		must(t, s.Rows(table, route, func(key string, body []byte) bool {
			id := rowID{table, route, key}
			got = append(got, id)
			equal(t, "Rows body", string(body), string(m.rows[id]))
			return true
		}))
		equal(t, "Rows "+table.String(), got, slices.DeleteFunc(slices.Clone(want), func(id rowID) bool { return id.route != route }))
		for _, key := range keys {
			body, err := s.Row(table, route, key)
			must(t, err)
			wantBody, ok := m.rows[rowID{table, route, key}]
			equal(t, "Row is there", body != nil, ok)
			equal(t, "Row", string(body), string(wantBody))
		}
	}
}

func compareHead(t testing.TB, s Store, m *model, id fhir.ResourceID) {
	t.Helper()
	head, ok, err := s.Head(id)
	must(t, err)
	want, wantOK := m.head(id)
	equal(t, "Head ok of "+id.String(), ok, wantOK)
	if ok {
		compareNewest(t, s, id, want)
		equal(t, "Head "+id.String(), head, commit.Head{Number: want.Number, Hash: want.Hash, Updated: want.Updated, Deleted: want.Deleted, Member: want.Member})
	}
	for _, member := range append(slices.Clone(members), "", "nobody", want.Member) {
		of, ok, err := s.HeadOf(member, id)
		must(t, err)
		equal(t, "HeadOf "+member+" ok of "+id.String(), ok, wantOK)
		equal(t, "HeadOf "+member+" "+id.String(), of, head)
	}
}

func compareNewest(t testing.TB, s Store, id fhir.ResourceID, want commit.Version) {
	t.Helper()
	got, ok, err := s.Newest(id)
	must(t, err)
	equal(t, "Newest ok of "+id.String(), ok, true)
	want.Index = nil
	equal(t, "Newest "+id.String(), got, want.Version)
}

func compareResources(t testing.TB, s Store, m *model, member string) {
	t.Helper()
	want, got := map[fhir.ResourceID]bool{}, map[fhir.ResourceID]bool{}
	for id := range m.versions {
		if v, _ := m.head(id); v.Member == member && !v.Deleted {
			want[id] = true
		}
	}
	must(t, s.Resources(member, func(id fhir.ResourceID) bool {
		if got[id] {
			t.Fatalf("Resources names %s twice", id)
		}
		got[id] = true
		return true
	}))
	equal(t, "Resources", got, want)
}

func compareLiving(t testing.TB, s Store, m *model, kind string) {
	t.Helper()
	var want []fhir.Version
	for id := range m.versions {
		if v, _ := m.head(id); id.Type == kind && !v.Deleted {
			v.Index = nil
			want = append(want, v.Version)
		}
	}
	slices.SortFunc(want, func(a, b fhir.Version) int { return strings.Compare(a.ID, b.ID) })
	for i := range len(want) + 1 {
		after := ""
		if i > 0 {
			after = want[i-1].ID
		}
		var got []fhir.Version
		must(t, s.Living(kind, after, func(v fhir.Version) bool { got = append(got, v); return len(got) < 3 }))
		equal(t, fmt.Sprintf("Living %s after %q", kind, after), got, want[i:min(i+3, len(want))])
	}
}

func compareParked(t testing.TB, s Store, m *model) {
	t.Helper()
	got, err := s.Parked()
	must(t, err)
	seen := map[string]commit.Parked{}
	for _, p := range got {
		seen[p.Root] = p
	}
	equal(t, "Parked", seen, m.parked)
	equal(t, "Parked, count", len(got), len(m.parked))
}

// compareFrontier compares the frontier but its generation.
func compareFrontier(t testing.TB, s Store, m *model) {
	t.Helper()
	got, want := s.Frontier(), m.frontier
	if got.Generation == "" {
		t.Fatal("Frontier has no generation")
	}
	got.Generation, want.Generation = "", ""
	if want.Number == 0 {
		got.Outbox, want.Outbox, got.Sources, got.Offsets = nil, nil, nil, nil
	}
	equal(t, "Frontier", got, want)
}

// compareView compares everything that a view at the number shows.
func compareView(t testing.TB, s Store, m *model, r *rand.Rand, number uint64) {
	t.Helper()
	v, err := s.At(number)
	must(t, err)
	defer func() { must(t, v.Close()) }()
	at := fmt.Sprintf(" at %d", number)
	equal(t, "Number"+at, v.Number(), number)
	info := m.infos[number-1]
	equal(t, "Committed"+at, v.Committed(), info.Committed)
	if number < uint64(m.frontier.Number) {
		equal(t, "Freshness"+at, v.Freshness(), info.Sources)
	} else {
		equal(t, "Freshness"+at, v.Freshness(), []change.Freshness{m.frontier.Sources["emr"].Freshness, m.frontier.Sources["pharmacy"].Freshness})
	}
	compareHolders(t, v, m, at)
	for _, kind := range types {
		for _, id := range ids {
			compareVersions(t, v, m, r, fhir.ResourceID{Type: kind, ID: id}, at)
		}
		compareScans(t, v, m, r, kind, at)
		comparePostings(t, v, m, r, kind, at)
	}
}

func compareHolders(t testing.TB, v View, m *model, at string) {
	t.Helper()
	for _, token := range tokens {
		var got []string
		err := v.Holders(token, func(member string) bool { got = append(got, member); return true })
		if whole := uint64(m.frontier.Matching); whole == 0 || v.Number() < whole {
			if !errors.Is(err, commit.ErrMatching) || len(got) > 0 {
				t.Fatalf("Holders%s of an index that is whole from %d on: %v, %q", at, whole, err, got)
			}
			continue
		}
		must(t, err)
		equal(t, fmt.Sprintf("Holders of %x%s", token, at), got, m.holders(token, v.Number()))
	}
}

func compareVersions(t testing.TB, v View, m *model, r *rand.Rand, id fhir.ResourceID, at string) {
	t.Helper()
	got, ok, err := v.Read(id)
	must(t, err)
	want, wantOK := m.read(id, v.Number())
	equal(t, "Read ok "+id.String()+at, ok, wantOK)
	equal(t, "Read "+id.String()+at, got, want.Version)
	all := m.versions[id]
	var visible []fhir.Version
	for i, w := range all {
		got, ok, err := v.VRead(id, w.Number)
		must(t, err)
		equal(t, "VRead ok "+id.String()+at, ok, w.Commit <= v.Number())
		if ok {
			equal(t, "VRead "+id.String()+at, got, w.Version)
			visible = append(visible, all[i].Version)
		}
	}
	for _, none := range []uint64{0, uint64(len(all)) + 1} {
		_, ok, err := v.VRead(id, none)
		must(t, err)
		equal(t, "VRead of no version", ok, false)
	}
	slices.Reverse(visible)
	before := uint64(r.IntN(len(all) + 2))
	limit := 1 + r.IntN(4)
	want2 := slices.DeleteFunc(visible, func(v fhir.Version) bool { return before != 0 && v.Number >= before })
	want2 = want2[:min(limit, len(want2))]
	var history []fhir.Version
	must(t, v.History(id, before, func(v fhir.Version) bool {
		history = append(history, v)
		return len(history) < limit
	}))
	equal(t, fmt.Sprintf("History of %s before %d%s", id, before, at), slices.Clip(history), slices.Clip(want2))
}

func compareScans(t testing.TB, v View, m *model, r *rand.Rand, kind, at string) {
	t.Helper()
	living := m.living(kind, v.Number())
	for i := range living {
		living[i].Body = nil
	}
	scan := func(member string, all bool, afterMember, afterID string) {
		t.Helper()
		var want, got []fhir.Version
		for _, w := range living {
			if !all && w.Member != member {
				continue
			}
			if c := strings.Compare(w.Member, afterMember); c < 0 || c == 0 && w.ID <= afterID && (afterMember != "" || afterID != "") {
				continue
			}
			want = append(want, w.Version)
		}
		must(t, v.Scan(kind, member, all, afterMember, afterID, func(v fhir.Version) bool { got = append(got, v); return true }))
		equal(t, fmt.Sprintf("Scan %s %q %v after %q %q%s", kind, member, all, afterMember, afterID, at), got, want)
	}
	scan("", true, "", "")
	scan("", true, pick(r, members), pick(r, ids))
	for _, member := range members {
		scan(member, false, "", "")
		scan(member, false, member, pick(r, ids))
	}
	n := 0
	must(t, v.Scan(kind, "", true, "", "", func(fhir.Version) bool { n++; return false }))
	equal(t, "Scan that is stopped", n, min(1, len(living)))
}

// comparePostings wants every resource that has the value among the candidates,
// and none that had no version yet.
func comparePostings(t testing.TB, v View, m *model, r *rand.Rand, kind, at string) {
	t.Helper()
	living := m.living(kind, v.Number())
	for _, param := range params {
		low, high := []byte(pick(r, values)), []byte(pick(r, values))
		if bytes.Compare(low, high) > 0 {
			low, high = high, low
		}
		high = append(high, 0)
		type candidate struct{ member, id string }
		got := map[candidate]bool{}
		must(t, v.Postings(kind, param, low, high, func(member, id string) bool {
			if _, ok := m.read(fhir.ResourceID{Type: kind, ID: id}, v.Number()); !ok {
				t.Fatalf("Postings shows %s/%q, which has no version%s", kind, id, at)
			}
			got[candidate{member, id}] = true
			return true
		}))
		for _, w := range living {
			if has(w, param, low, high) && !got[candidate{w.Member, w.ID}] {
				t.Fatalf("Postings %s %s [%q, %q) leaves out %q of %q%s", kind, param, low, high, w.ID, w.Member, at)
			}
		}
	}
}

// compareOutbox compares the announcements after the published marks.
func compareOutbox(t testing.TB, s Store, m *model, generation string) {
	t.Helper()
	for p := range int32(partitions) {
		mark, err := s.Mark(p)
		must(t, err)
		n := mark
		visible := uint64(0)
		if int(p) < len(m.frontier.Outbox) {
			visible = m.frontier.Outbox[p]
		}
		must(t, s.Announcements(p, mark, func(number uint64, a commit.Announcement) bool {
			n++
			equal(t, "Announcement's number", number, n)
			want := commit.Announcement{Version: m.outbox[p][number-1], Generation: generation}
			want.Info = m.infos[want.Version.Commit-1]
			want.Version.Postings = nil
			equal(t, "Announcement", a, want)
			return true
		}))
		equal(t, "Announcements, last", n, visible)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	if g.Kind() == reflect.Slice && w.Kind() == reflect.Slice && g.Len() == 0 && w.Len() == 0 {
		return // nothing is nothing, nil or not
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}
