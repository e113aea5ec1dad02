package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/tributary-health/tributary/api"
)

// TestEverythingInParts wants the pages of a record to be the whole of it, in order
// and with one total, whatever part of it is asked for.
func TestEverythingInParts(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/queries/everything.txtar")
	if err != nil {
		t.Fatal(err)
	}
	handler := api.New(testConfig(storeOf(t, string(archive.Files[0].Data))))
	ask := func(path string) (ids []string, g got) {
		w := serveOne(handler, askRecorded(t, "GET "+path))
		if err := json.Unmarshal(w.Body.Bytes(), &g); err != nil || w.Code != http.StatusOK || g.Total == nil {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
		for _, e := range g.Entry {
			ids = append(ids, e.Resource.ResourceType+"/"+e.Resource.ID+" "+e.Search.Mode)
		}
		return ids, g
	}
	sizes := map[int]bool{}
	for _, time := range []string{"", "start=2020-03-01", "start=2020&end=2020-03-01", "start=2021-06-01T05:00:00Z", "end=2015", "end=2020"} {
		for _, since := range []string{"", "&_since=2026-01-01T00:00:10Z", "&_since=2026-01-01T00:00:17Z", "&_since=2026-01-01"} {
			for _, types := range []string{"", "&_type=Observation", "&_type=Patient,Organization", "&_type=Encounter&_type=Location", "&_type=Practitioner,Condition,Coverage"} {
				asked := "/fhir/Patient/p1/$everything?" + time + since + types
				whole, g := ask(asked)
				sizes[len(whole)] = true
				for _, count := range []int{1, 2, 5} {
					var all []string
					for path := fmt.Sprint(asked, "&_count=", count); path != ""; {
						ids, page := ask(path)
						if *page.Total != *g.Total || len(ids) > count {
							t.Fatalf("%s: %d of %d, want at most %d of %d", path, len(ids), *page.Total, count, *g.Total)
						}
						all = append(all, ids...)
						path = strings.TrimPrefix(page.link("next"), "http://fhir.example")
					}
					if !slices.Equal(all, whole) {
						t.Errorf("%s, %d a page: %v, want %v", asked, count, all, whole)
					}
				}
			}
		}
	}
	if len(sizes) < 10 {
		t.Errorf("all parts are alike: %v", sizes)
	}
}
