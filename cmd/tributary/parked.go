package main

import (
	"strings"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
)

// tellParked returns the hook that tells of roots that are parked and of those
// that are composed again. A parked root is tried again at each of its
// transactions: it is told of once, and again when the reason is another.
func (p *pipeline) tellParked() func(root, reason string, cleared bool) {
	told := map[string]string{} // reason, by root
	return func(root, reason string, cleared bool) {
		p.observe.parked.Set(float64(len(p.worker.Status().Parked)))
		switch {
		case cleared:
			delete(told, root)
			p.log.Info("compose: a parked root is composed again", "root", p.rootName(root))
		case told[root] != reason:
			told[root] = reason
			p.log.Warn("compose: a root is parked: it stays as it was until it can be composed", "root", p.rootName(root), "reason", reason)
		}
	}
}

// rootName is a parked root for people.
func (p *pipeline) rootName(root string) string {
	if names := parkedNames(p.set, root); len(names) > 0 {
		return strings.Join(names, ", ")
	}
	return "a row without a resource"
}

// parkedNames is a parked root as the API would call it, and never as its source
// does: a member by its Patient, a reference row by the resources that are made
// of it.
func parkedNames(set *mapping.Set, root string) []string {
	table, key, reference := referenceRow(set, root)
	if !reference {
		return []string{"Patient/" + set.ResourceID("Patient", set.Root().Table, "", root)}
	}
	var names []string
	for _, r := range set.Resources() {
		if r.From == table {
			names = append(names, r.Type+"/"+r.ID(key))
		}
	}
	return names
}

// referenceRow reads "source.table/key"; ok is false for a member, whose key may
// have any text.
func referenceRow(set *mapping.Set, root string) (table change.Table, key string, ok bool) {
	for _, d := range set.Tables() {
		if d.Route.Kind != change.Reference {
			continue
		}
		if key, ok := strings.CutPrefix(root, d.Table.String()+"/"); ok {
			return d.Table, key, true
		}
	}
	return change.Table{}, "", false
}
