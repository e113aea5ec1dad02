package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// resource is one resource as it was served, with what packing needs to know.
type resource struct {
	ref     string // "Type/id"
	fullURL string
	body    json.RawMessage
	member  string   // the Patient it belongs to; empty if none
	refers  []string // the relative references in it, each once
}

// shape is what makes a resource worth a validator's time: its profiles and the
// set of its elements' paths, and each code at its path.
type shape struct {
	paths string
	codes []string
}

// shapes remembers what was seen.
type shapes map[string]bool

// take reports whether the resource has something new: a set of paths, or a code
// at a path, under its profiles.
func (seen shapes) take(s shape) bool {
	taken := !seen[s.paths]
	seen[s.paths] = true
	for _, code := range s.codes {
		taken = taken || !seen[code]
		seen[code] = true
	}
	return taken
}

// codeText is the text of a primitive that is a code, and nothing that a person
// wrote: lower-case letters and hyphens.
var codeText = regexp.MustCompile(`^[a-z][a-z-]{0,39}$`)

// describe reads a resource.
func describe(e entry) (resource, shape, error) {
	var top map[string]any
	d := json.NewDecoder(bytes.NewReader(e.Resource))
	d.UseNumber()
	if err := d.Decode(&top); err != nil {
		return resource{}, shape{}, err
	}
	typ, _ := top["resourceType"].(string)
	id, _ := top["id"].(string)
	if typ == "" || id == "" {
		return resource{}, shape{}, fmt.Errorf("a resource without type or id at %q", e.FullURL)
	}
	w := walker{paths: map[string]bool{}, codes: map[string]bool{}, refers: map[string]bool{}}
	w.object(typ, top)
	r := resource{ref: typ + "/" + id, fullURL: e.FullURL, body: e.Resource, refers: sorted(w.refers)}
	r.member = memberOf(r.ref, top)
	profile := typ + " " + fmt.Sprint(profiles(top))
	s := shape{paths: profile + "\n" + strings.Join(sorted(w.paths), "\n")}
	for _, code := range sorted(w.codes) {
		s.codes = append(s.codes, profile+"\n"+code)
	}
	return r, s, nil
}

type walker struct {
	paths, codes, refers map[string]bool
}

func (w *walker) object(path string, o map[string]any) {
	if code, ok := o["code"].(string); ok && o["system"] != nil {
		w.codes[fmt.Sprintf("%s=%v|%s", path, o["system"], code)] = true
	}
	for name, v := range o {
		w.value(path+"."+name, name, v)
	}
}

func (w *walker) value(path, name string, v any) {
	switch v := v.(type) {
	case map[string]any:
		w.paths[path] = true
		w.object(path, v)
	case []any:
		for _, item := range v {
			w.value(path, name, item)
		}
	case string:
		w.paths[path] = true
		switch {
		case name == "reference" && relative.MatchString(v):
			w.refers[v] = true
		case name == "url" && strings.HasSuffix(path, "xtension.url"), codeText.MatchString(v):
			w.codes[path+"="+v] = true
		}
	default:
		w.paths[path] = true
	}
}

var relative = regexp.MustCompile(`^[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}$`)

func profiles(top map[string]any) []string {
	meta, _ := top["meta"].(map[string]any)
	list, _ := meta["profile"].([]any)
	var all []string
	for _, p := range list {
		all = append(all, fmt.Sprint(p))
	}
	slices.Sort(all)
	return all
}

// memberOf is the Patient that a resource is of or about.
func memberOf(ref string, top map[string]any) string {
	if strings.HasPrefix(ref, "Patient/") {
		return ref
	}
	for _, name := range []string{"subject", "patient", "beneficiary", "for"} {
		if r, ok := top[name].(map[string]any); ok {
			if text, ok := r["reference"].(string); ok && strings.HasPrefix(text, "Patient/") {
				return text
			}
		}
	}
	return ""
}

func sorted(set map[string]bool) []string {
	all := make([]string, 0, len(set))
	for s := range set {
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}

// byMember orders resources so that those of one member, which share what they
// refer to, stand together.
func byMember(a, b resource) int {
	return cmp.Or(cmp.Compare(a.member, b.member), cmp.Compare(a.ref, b.ref))
}
