package mappingtest

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
)

// idKey makes the ids of cases; no id of it is ever shown where its row is known.
const idKey = "mapping test"

// names translates resource ids, which are hashes, to what they are made from:
// "emr.patients:p1", or "pharmacy.spans#secondary:s1" for a mapping with a name.
type names map[string]string

var idForm = regexp.MustCompile(`[a-z2-7]{26}`)

// namesOf knows the ids that any mapping could make of any value in the rows: a
// reference to a row that the case does not have is readable too.
func namesOf(set *mapping.Set, rows *rowSet) names {
	keys := map[string]bool{}
	for _, t := range rows.tables {
		for _, values := range rows.byTable[t] {
			for _, v := range values {
				if v.State == change.Set {
					keys[change.JoinKey(v.Text)] = true
				}
			}
			if k, ok := rows.schemas[t].Key(values); ok {
				keys[k] = true
			}
		}
	}
	n := names{}
	for _, r := range set.Resources() {
		for k := range keys {
			n[r.ID(k)] = rowName(r, k)
		}
	}
	return n
}

// rowName names what a mapping makes of the row with the key.
func rowName(r *mapping.Resource, key string) string {
	name := r.From.String()
	if r.Name != "" {
		name += "#" + r.Name
	}
	return name + ":" + strings.ReplaceAll(key, "\x1f", "+")
}

// readable replaces every id in JSON text.
func (n names) readable(content string) string {
	return idForm.ReplaceAllStringFunc(content, func(id string) string {
		name, ok := n[id]
		if !ok {
			return id
		}
		quoted, _ := json.Marshal(name)
		return string(quoted[1 : len(quoted)-1])
	})
}
