package api

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tributary-health/tributary/fhir"
)

// includeRule is one _include or _revinclude: the references of the parameter of
// source, all of them for "*", as far as they lead to target.
type includeRule struct {
	name    string // as it was sent, with its modifier
	reverse bool
	iterate bool // also from what was included
	source  string
	param   string
	target  string // empty: any
}

// addInclude reads Type:parameter, Type:parameter:Target, Type:* or, for
// _include alone, *.
func (q *query) addInclude(name, value string) error {
	plain, modifier, _ := strings.Cut(name, ":")
	rule := includeRule{name: name, reverse: plain == "_revinclude", iterate: modifier != ""}
	parts := strings.Split(value, ":")
	switch {
	case value == "*" && name == "_include":
		parts = []string{q.typ, "*"}
	case value == "*":
		return notSupported(name, "want Type:parameter or Type:parameter:Type")
	}
	if len(parts) != 2 && len(parts) != 3 {
		return badParameter(name, "want Type:parameter or Type:parameter:Type")
	}
	rule.source, rule.param = parts[0], parts[1]
	if len(parts) == 3 {
		rule.target = parts[2]
	}
	if !rule.reverse && !rule.iterate && rule.source != q.typ {
		return notSupported(name, "want %s:parameter or %s:parameter:Type", q.typ, q.typ)
	}
	if rule.target != "" && !fhir.IsResource(rule.target) || !fhir.IsResource(rule.source) {
		return badParameter(name, "names no resource type")
	}
	if rule.param != "*" {
		if p := fhir.FindParam(rule.source, rule.param); p == nil || p.Kind != fhir.ReferenceParam {
			return notSupported(name, "%s has no such reference parameter", rule.source)
		}
	}
	if rule.reverse && !rule.iterate {
		if err := rule.reachable(q.typ); err != nil {
			return err
		}
	}
	if q.includes = append(q.includes, rule); len(q.includes) > maxIncludes {
		return tooCostly(name, "the search has more than %d includes", maxIncludes)
	}
	return nil
}

// reachable refuses what would read every member's record: what refers to a
// resource that all members share.
func (rule *includeRule) reachable(target string) error {
	if fhir.InRecord(rule.source) && !fhir.InRecord(target) {
		return notSupported(rule.name, "%s resources of all members may refer to one %s: search %s instead", rule.source, target, rule.source)
	}
	return nil
}

// inclusion collects what goes with the matches of one page.
type inclusion struct {
	*request
	view  View
	seen  map[fhir.ResourceID]bool
	added []fhir.Version
}

// include returns what the matches refer to and what refers to them, each once,
// as far as the caller may see it.
func (r *request) include(view View, q *query, hits []hit) ([]fhir.Version, error) {
	if len(q.includes) == 0 || len(hits) == 0 {
		return nil, nil
	}
	in := &inclusion{request: r, view: view, seen: make(map[fhir.ResourceID]bool, len(hits))}
	from := make([]fhir.Version, len(hits))
	for i := range hits {
		from[i] = hits[i].Version
		in.seen[hits[i].ResourceID] = true
	}
	for round := 0; len(from) > 0; round++ {
		before := len(in.added)
		for i := range q.includes {
			rule := &q.includes[i]
			if round > 0 && !rule.iterate {
				continue
			}
			var err error
			if rule.reverse {
				err = in.referring(rule, from)
			} else {
				err = in.referred(rule, from)
			}
			if err != nil {
				return nil, err
			}
		}
		from = in.added[before:len(in.added):len(in.added)]
	}
	return in.added, nil
}

// visible says whether the caller may see resources of the type here.
func (in *inclusion) visible(resourceType string) bool {
	return in.types[resourceType] && in.caller.MayRead(resourceType)
}

// referred adds what the given resources refer to.
func (in *inclusion) referred(rule *includeRule, from []fhir.Version) error {
	for i := range from {
		if from[i].Type != rule.source {
			continue
		}
		for _, id := range fhir.References(from[i].Index, rule.source, rule.param) {
			if rule.target == "" || id.Type == rule.target {
				if err := in.add(rule, id); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// referring adds what refers to the given resources: from their own records, or
// from what all members share.
func (in *inclusion) referring(rule *includeRule, from []fhir.Version) error {
	wanted := make(map[fhir.ResourceID]bool)
	var members []string
	for i := range from {
		if rule.target != "" && from[i].Type != rule.target {
			continue
		}
		if err := rule.reachable(from[i].Type); err != nil {
			return err
		}
		wanted[from[i].ResourceID] = true
		if fhir.InRecord(rule.source) {
			members = append(members, from[i].Member)
		} else {
			members = append(members, "")
		}
	}
	if !in.visible(rule.source) {
		return nil
	}
	slices.Sort(members)
	for _, member := range slices.Compact(members) {
		if err := in.scan(rule, member, wanted); err != nil {
			return err
		}
	}
	return nil
}

func (in *inclusion) scan(rule *includeRule, member string, wanted map[fhir.ResourceID]bool) error {
	var found []fhir.ResourceID
	ctx := in.ctx
	err := in.view.Scan(rule.source, member, false, member, "", func(v fhir.Version) bool {
		for _, id := range fhir.References(v.Index, rule.source, rule.param) {
			if wanted[id] {
				found = append(found, v.ResourceID)
				break
			}
		}
		return len(found) <= maxIncluded && ctx.Err() == nil
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("api: scan %s: %w", rule.source, err)
	}
	for _, id := range found {
		if err := in.add(rule, id); err != nil {
			return err
		}
	}
	return nil
}

// add reads a resource and adds it, unless it is there already or hidden.
func (in *inclusion) add(rule *includeRule, id fhir.ResourceID) error {
	if in.seen[id] || !in.visible(id.Type) {
		return nil
	}
	in.seen[id] = true
	v, ok, err := in.view.Read(id)
	if err != nil {
		return fmt.Errorf("api: include %s: %w", id.Type, err)
	}
	if !ok || v.Deleted {
		return nil
	}
	if in.added = append(in.added, v); len(in.added) > maxIncluded {
		return tooCostly(rule.name, "more than %d resources go with one page: ask for fewer matches with _count, or search %s", maxIncluded, rule.source)
	}
	return nil
}
