//go:build ignore

// Gen condenses the R4 4.0.1 structure definitions and value sets into the
// table that package fhir embeds. Its arguments are the folder that holds
// profiles-types.json, profiles-resources.json, valuesets.json and
// v3-codesystems.json, and the file to write:
//
//	go run fhir/definitions/gen/main.go FOLDER fhir/definitions/r4.txt.gz
package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxCodes bounds a binding that is written out; larger ones (media types,
// currencies, languages) are left to a validator.
const maxCodes = 300

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gen FOLDER OUTPUT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(folder, output string) error {
	g := &generator{codes: map[string]*codeSystem{}, sets: map[string]*valueSet{}, numbers: map[string]int{}}
	for _, name := range []string{"valuesets.json", "v3-codesystems.json"} {
		if err := each(filepath.Join(folder, name), g.terminology); err != nil {
			return err
		}
	}
	for _, name := range []string{"profiles-types.json", "profiles-resources.json"} {
		if err := each(filepath.Join(folder, name), g.structure); err != nil {
			return err
		}
	}
	slices.SortFunc(g.blocks, func(a, b block) int { return cmp.Compare(a.name, b.name) })
	var text strings.Builder
	text.WriteString("FHIR R4 4.0.1\n")
	for i, codes := range g.written {
		fmt.Fprintf(&text, "V\t%d\t%s\n", i+1, codes)
	}
	for _, b := range g.blocks {
		text.WriteString(b.text)
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(text.String())); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(output, packed.Bytes(), 0o644)
}

type generator struct {
	codes   map[string]*codeSystem
	sets    map[string]*valueSet
	numbers map[string]int // code list, joined, to its number in the table
	written []string
	blocks  []block
}

type block struct{ name, text string }

func each(file string, fn func(json.RawMessage) error) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var bundle struct {
		Entry []struct {
			Resource json.RawMessage `json:"resource"`
		} `json:"entry"`
	}
	if err := json.Unmarshal(b, &bundle); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, e := range bundle.Entry {
		if err := fn(e.Resource); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

type concept struct {
	Code    string    `json:"code"`
	Concept []concept `json:"concept"`
}

type codeSystem struct {
	URL     string    `json:"url"`
	Content string    `json:"content"`
	Concept []concept `json:"concept"`
}

type include struct {
	System   string            `json:"system"`
	Concept  []concept         `json:"concept"`
	Filter   []json.RawMessage `json:"filter"`
	ValueSet []string          `json:"valueSet"`
}

type valueSet struct {
	URL     string `json:"url"`
	Compose struct {
		Include []include         `json:"include"`
		Exclude []json.RawMessage `json:"exclude"`
	} `json:"compose"`
}

func (g *generator) terminology(raw json.RawMessage) error {
	var kind struct {
		ResourceType string `json:"resourceType"`
		URL          string `json:"url"`
	}
	if err := json.Unmarshal(raw, &kind); err != nil {
		return err
	}
	switch kind.ResourceType {
	case "CodeSystem":
		c := &codeSystem{}
		g.codes[kind.URL] = c
		return json.Unmarshal(raw, c)
	case "ValueSet":
		v := &valueSet{}
		g.sets[kind.URL] = v
		return json.Unmarshal(raw, v)
	}
	return nil
}

// expand lists a value set's codes; ok is false when the files do not say all of
// them.
func (g *generator) expand(url string) (codes []string, ok bool) {
	url, _, _ = strings.Cut(url, "|")
	v := g.sets[url]
	if v == nil || len(v.Compose.Exclude) > 0 || len(v.Compose.Include) == 0 {
		return nil, false
	}
	for _, in := range v.Compose.Include {
		switch {
		case len(in.Filter) > 0:
			return nil, false
		case len(in.ValueSet) > 0:
			for _, other := range in.ValueSet {
				more, ok := g.expand(other)
				if !ok || in.System != "" {
					return nil, false
				}
				codes = append(codes, more...)
			}
		case len(in.Concept) > 0:
			codes = flatten(codes, in.Concept)
		default:
			c := g.codes[in.System]
			if c == nil || c.Content != "complete" || len(c.Concept) == 0 {
				return nil, false
			}
			codes = flatten(codes, c.Concept)
		}
	}
	slices.Sort(codes)
	codes = slices.Compact(codes)
	return codes, len(codes) <= maxCodes
}

func flatten(codes []string, concepts []concept) []string {
	for _, c := range concepts {
		codes = flatten(append(codes, c.Code), c.Concept)
	}
	return codes
}

type element struct {
	Path string `json:"path"`
	Min  int    `json:"min"`
	Max  string `json:"max"`
	Type []struct {
		Code      string   `json:"code"`
		Target    []string `json:"targetProfile"`
		Extension []struct {
			URL      string `json:"url"`
			ValueURL string `json:"valueUrl"`
		} `json:"extension"`
	} `json:"type"`
	ContentReference string `json:"contentReference"`
	Binding          *struct {
		Strength string `json:"strength"`
		ValueSet string `json:"valueSet"`
	} `json:"binding"`
}

func (g *generator) structure(raw json.RawMessage) error {
	var d struct {
		ResourceType string `json:"resourceType"`
		Name         string `json:"name"`
		Kind         string `json:"kind"`
		Derivation   string `json:"derivation"`
		Abstract     bool   `json:"abstract"`
		FHIRVersion  string `json:"fhirVersion"`
		Snapshot     struct {
			Element []element `json:"element"`
		} `json:"snapshot"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return err
	}
	if d.ResourceType != "StructureDefinition" || d.Derivation == "constraint" || d.FHIRVersion != "4.0.1" {
		return nil
	}
	kind := map[string]string{"primitive-type": "primitive", "complex-type": "complex", "resource": "resource"}[d.Kind]
	if kind == "" {
		return nil
	}
	if d.Abstract {
		kind = "abstract"
	}
	texts := map[string]*strings.Builder{}
	open := func(path, kind string) {
		b := &strings.Builder{}
		fmt.Fprintf(b, "T\t%s\t%s\n", path, kind)
		texts[path] = b
	}
	open(d.Name, kind)
	for _, e := range d.Snapshot.Element[1:] {
		dot := strings.LastIndexByte(e.Path, '.')
		parent, name := e.Path[:dot], e.Path[dot+1:]
		if kind == "primitive" { // its value is the type itself; its extensions are an Element's
			break
		}
		if len(e.Type) == 1 && (e.Type[0].Code == "BackboneElement" || e.Type[0].Code == "Element") {
			open(e.Path, "backbone")
		}
		g.element(texts[parent], name, e)
	}
	for path, b := range texts {
		g.blocks = append(g.blocks, block{path, b.String()})
	}
	return nil
}

// element writes one line for each name that the element goes by: a choice of
// types has one for each type.
func (g *generator) element(b *strings.Builder, name string, e element) {
	flags := ""
	if e.Min > 0 {
		flags += "1"
	}
	if e.Max != "1" && e.Max != "0" {
		flags += "*"
	}
	codes := ""
	if e.Binding != nil && e.Binding.Strength == "required" {
		codes = g.number(e.Binding.ValueSet)
	}
	if e.ContentReference != "" {
		fmt.Fprintf(b, "%s\t%s\t%s\n", name, flags, strings.TrimPrefix(e.ContentReference, "#"))
		return
	}
	base, choice := strings.CutSuffix(name, "[x]")
	for _, t := range e.Type {
		code, full := t.Code, name
		for _, x := range t.Extension {
			if strings.HasSuffix(x.URL, "structuredefinition-fhir-type") {
				code = x.ValueURL
			}
		}
		group := ""
		if choice {
			full, group = base+strings.ToUpper(code[:1])+code[1:], base
		}
		if code == "BackboneElement" || code == "Element" {
			code = e.Path
		}
		var targets []string
		for _, target := range t.Target {
			targets = append(targets, target[strings.LastIndexByte(target, '/')+1:])
		}
		bound := ""
		if code == "code" || code == "string" || code == "uri" {
			bound = codes
		}
		line := strings.Join([]string{full, flags, code, group, bound, strings.Join(targets, ",")}, "\t")
		b.WriteString(strings.TrimRight(line, "\t") + "\n")
	}
}

func (g *generator) number(valueSet string) string {
	codes, ok := g.expand(valueSet)
	if !ok || len(codes) == 0 {
		return ""
	}
	text := strings.Join(codes, " ")
	if g.numbers[text] == 0 {
		g.written = append(g.written, text)
		g.numbers[text] = len(g.written)
	}
	return fmt.Sprint(g.numbers[text])
}
