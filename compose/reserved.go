package compose

import (
	"strings"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
)

// Composition keeps a few rows of its own beside the sources', under table names
// that no source can have:
//
//	source.table#route      route = key = primary key     the row's route
//	source.table#by:column  route = column's text         empty; key = (route, key) of the row
//	source.root#newest      route = member, key = table   the newest date of the table's rows
//	source.table#skipped:N  as the row                    empty; mapping N (of a version) made no resource of it
//	source.root#gone        route empty, key = member     empty; lost rows while nothing was composed

func routeTable(t change.Table) change.Table { return reserved(t, "route") }

func linkTable(t change.Table, column string) change.Table { return reserved(t, "by:"+column) }

func newestTable(root change.Table) change.Table { return reserved(root, "newest") }

func goneTable(root change.Table) change.Table { return reserved(root, "gone") }

func (p *plan) skippedTable(r *resource) change.Table {
	return reserved(r.from, "skipped:"+r.typ+":"+r.name+":"+p.version)
}

func reserved(t change.Table, what string) change.Table {
	return change.Table{Source: t.Source, Name: t.Name + "#" + what}
}

// reservedBody marks a body: a store may not tell an empty one from none.
const reservedBody = "\x01"

// textBody is a reserved row's body with a text.
func textBody(text string) []byte { return []byte(reservedBody + text) }

// bodyText reads it back.
func bodyText(body []byte) string { return strings.TrimPrefix(string(body), reservedBody) }

// pairKey is the key of a link row: where the linking row lies.
func pairKey(route, key string) string { return change.JoinKey(route, key) }

// splitPair reads pairKey back.
func splitPair(pair string) (route, key string) {
	var parts [2]strings.Builder
	at := 0
	for i := 0; i < len(pair); i++ {
		switch {
		case pair[i] == '\\' && i+1 < len(pair):
			i++
			parts[at].WriteByte(pair[i])
		case pair[i] == 0x1f && at == 0:
			at = 1
		default:
			parts[at].WriteByte(pair[i])
		}
	}
	return parts[0].String(), parts[1].String()
}

// timed is a table with members whose rows have a date.
type timed struct {
	table  change.Table
	column string
	zone   *time.Location
}

// dateText returns the row's date in FHIR's form, for newest: a date as it is, a
// time as UTC with its fraction only if it is not zero. Empty for none, and for
// text that is no date.
func dateText(decl *timed, row mapping.Row) string {
	i := row.Schema.Column(decl.column)
	if i < 0 || i >= len(row.Values) || row.Values[i].State != change.Set {
		return ""
	}
	text := row.Values[i].Text
	switch row.Schema.Columns[i].Type {
	case change.Timestamp:
		t, err := time.ParseInLocation("2006-01-02T15:04:05", text, decl.zone)
		if err != nil {
			return ""
		}
		return t.UTC().Format("2006-01-02T15:04:05.999999999Z")
	case change.Instant:
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return ""
		}
		return t.UTC().Format("2006-01-02T15:04:05.999999999Z")
	default:
		if _, err := time.Parse(time.DateOnly, text); err != nil {
			return ""
		}
		return text
	}
}

// later returns the later of two texts that dateText made, as instants; a date
// alone is its first moment. Texts of one instant are ordered as text, so that
// the answer does not depend on the order of asking.
func later(a, b string) string {
	if a == "" || b == "" {
		return max(a, b)
	}
	ta, tb := instant(a), instant(b)
	if c := ta.Compare(tb); c > 0 || c == 0 && a > b {
		return a
	}
	return b
}

func instant(text string) time.Time {
	layout := time.RFC3339
	if len(text) == len(time.DateOnly) {
		layout = time.DateOnly
	}
	t, _ := time.Parse(layout, text) // dateText made it
	return t
}
