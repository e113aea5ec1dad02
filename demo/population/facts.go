package main

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// A fact is one thing that a resource says: where, and what. The path has no list
// numbers, so the order of a list does not count; what must be told apart in a
// list (identifiers, names, components) has its kind in the path.
type fact struct{ path, value string }

// A record is a resource as facts.
type record struct {
	typ, id string
	rows    map[string]string // values of the identifiers, by system
	facts   []fact
}

// values are all that the record says at a path.
func (r *record) values(path string) []string {
	var all []string
	for _, f := range r.facts {
		if f.path == path {
			all = append(all, f.value)
		}
	}
	return all
}

func (r *record) first(path string) string {
	if all := r.values(path); len(all) > 0 {
		return all[0]
	}
	return ""
}

func (r *record) add(path, value string) {
	if value != "" {
		r.facts = append(r.facts, fact{path, value})
	}
}

// newRecord reads a resource. What only a server or an exporter adds (narrative,
// versions, contained) is no fact.
func newRecord(top map[string]any) *record {
	r := &record{typ: str(top["resourceType"]), id: str(top["id"]), rows: map[string]string{}}
	for _, i := range list(top["identifier"]) {
		o := object(i)
		r.rows[str(o["system"])] = str(o["value"])
	}
	for _, p := range list(object(top["meta"])["profile"]) {
		r.add("meta.profile", strings.TrimSuffix(str(p), "|2.0.0"))
	}
	for name, v := range top {
		switch name {
		case "resourceType", "id", "meta", "text", "contained":
		default:
			r.flatten(name, v)
		}
	}
	r.sort()
	return r
}

func (r *record) sort() {
	slices.SortFunc(r.facts, func(a, b fact) int {
		if c := strings.Compare(a.path, b.path); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
}

func (r *record) flatten(path string, v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			r.flatten(path, item)
		}
	case map[string]any:
		r.object(path, v)
	case json.Number:
		r.add(path, number(v.String()))
	case bool:
		r.add(path, map[bool]string{true: "true", false: "false"}[v])
	case string:
		r.add(path, moment(v))
	}
}

func (r *record) object(path string, o map[string]any) {
	if inner, ok := whole(path, o); ok {
		r.add(path, inner)
		return
	}
	path += kindOf(path, o)
	switch {
	case o["reference"] != nil:
		r.add(path, "@"+str(o["reference"]))
	case o["system"] != nil && o["code"] != nil && o["value"] == nil:
		r.add(path, str(o["system"])+"|"+str(o["code"]))
	case o["system"] != nil && o["value"] != nil && o["code"] == nil:
		r.add(path, str(o["system"])+"|"+str(o["value"]))
		return
	case o["value"] != nil && o["code"] != nil:
		r.add(path, number(plain(o["value"]))+" "+str(o["code"]))
		return
	default:
		for name, v := range o {
			if name != "url" {
				r.flatten(path+"."+name, v)
			}
		}
		return
	}
	if o["display"] != nil {
		r.add(path+".display", str(o["display"]))
	}
}

// whole is the value of an object whose members belong together.
func whole(path string, o map[string]any) (string, bool) {
	if path != "reaction" {
		return "", false
	}
	var codes []string
	for _, m := range list(o["manifestation"]) {
		for _, c := range list(object(m)["coding"]) {
			codes = append(codes, str(object(c)["code"]))
		}
	}
	return strings.Join(codes, ",") + " " + str(o["severity"]), true
}

// kindOf tells an item of a list from its siblings.
func kindOf(path string, o map[string]any) string {
	kind := ""
	switch {
	case path == "identifier":
		kind = firstCode(o["type"])
	case path == "telecom":
		kind = str(o["system"])
	case path == "name":
		kind = str(o["use"])
	case path == "component":
		kind = firstCode(o["code"])
	case o["url"] != nil:
		url := str(o["url"])
		kind = url[strings.LastIndexByte(url, '/')+1:]
	}
	if kind == "" {
		return ""
	}
	return "(" + kind + ")"
}

// firstCode is the code of a concept's first coding.
func firstCode(concept any) string {
	for _, c := range list(object(concept)["coding"]) {
		return str(object(c)["code"])
	}
	return ""
}

func object(v any) map[string]any { o, _ := v.(map[string]any); return o }
func list(v any) []any            { l, _ := v.([]any); return l }
func str(v any) string            { s, _ := v.(string); return s }

func plain(v any) string {
	if n, ok := v.(json.Number); ok {
		return n.String()
	}
	return str(v)
}

// number is a decimal without zeros at its end.
func number(text string) string {
	if strings.Contains(text, ".") && !strings.ContainsAny(text, "eE") {
		text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// moment is a time in UTC to the second; any other text as it is.
func moment(text string) string {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC().Format("2006-01-02T15:04:05Z")
	}
	return text
}

// day is the date of a time.
func day(text string) string { return text[:min(10, len(text))] }
