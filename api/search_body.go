package api

import (
	"context"
	"fmt"
	"strings"

	"github.com/tributary-health/tributary/fhir"
)

// maxBodies is how many resources one search reads for what the index of its
// candidates does not have.
const maxBodies = 20_000

// bodyCondition is a condition that is held against the resource itself, because
// the index does not have what it asks for: the text of a code, the identifier of a
// reference. So it is for searches that something else makes narrow.
type bodyCondition struct {
	sent string // the parameter's name as it was sent
	fhir.BodyCriterion
}

// needsNarrow refuses a search that would read the bodies of all there is.
func (q *query) needsNarrow() error {
	if len(q.bodies) == 0 || q.narrow() {
		return nil
	}
	sent, patient, other := q.bodies[0].sent, "", ""
	if fhir.InRecord(q.typ) && q.typ != "Patient" {
		patient = "a patient, "
	}
	if reference, ok := strings.CutSuffix(sent, ":identifier"); ok {
		other = ", or for " + reference + ".identifier, which what is pointed at has"
	}
	return tooCostly(sent, "reads the resources themselves: ask for %san _id or an identifier as well%s", patient, other)
}

// narrow says whether the criteria name what to look at, so that not all there is
// of the type is.
func (q *query) narrow() bool {
	for i := range q.criteria {
		if namesWhere(&q.criteria[i]) {
			return true
		}
	}
	_, ok := q.records()
	return ok
}

// namesWhere says whether candidates for the criterion are found without a look at
// all there is.
func namesWhere(c *fhir.Criterion) bool {
	if _, ok := c.IDs(); ok {
		return true
	}
	if _, ok := c.Members(); ok {
		return true
	}
	_, ok := c.PostingRanges()
	return ok
}

// further looks at the candidates that satisfy all that their index can tell.
type further struct {
	ctx    context.Context
	view   View
	query  *query
	read   int // how many resources it has read
	failed error
}

// take reports whether the candidate satisfies the rest. After an error, which
// failed holds, it takes none.
func (l *further) take(v fhir.Version) (ok bool) {
	if l.failed != nil {
		return false
	}
	if ok, l.failed = l.look(v); l.failed != nil {
		return false
	}
	return ok
}

// reads counts one more resource, which is read for the parameter.
func (l *further) reads(sent string) error {
	if l.read++; l.read > maxBodies {
		return tooCostly(sent, "would read more than %d resources: ask for less", maxBodies)
	}
	if err := l.ctx.Err(); err != nil {
		return fmt.Errorf("api: search: %w", err)
	}
	return nil
}

func (l *further) look(v fhir.Version) (ok bool, err error) {
	for i := range l.query.chains {
		c := &l.query.chains[i]
		if !c.filters {
			continue
		}
		if ok, err := c.leads(l, v); !ok || err != nil {
			return false, err
		}
	}
	for i := range l.query.reverses {
		r := &l.query.reverses[i]
		if !r.filters {
			continue
		}
		if ok, err := r.refers(l.ctx, l.view, v); !ok || err != nil {
			return false, err
		}
	}
	if len(l.query.bodies) == 0 {
		return true, nil
	}
	if err := l.reads(l.query.bodies[0].sent); err != nil {
		return false, err
	}
	read := hit{Version: v}
	if err := read.load(l.view); err != nil {
		return false, err
	}
	for i := range l.query.bodies {
		if !l.query.bodies[i].Match(read.Body) {
			return false, nil
		}
	}
	return true, nil
}
