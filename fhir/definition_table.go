package fhir

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

//go:embed definitions/r4.txt.gz
var packedDefinitions []byte

type definition struct {
	kind     Kind
	elements []Element
}

type definitionTable struct {
	types     map[string]*definition
	resources []string
}

// definitions unpacks the embedded table once. The table is part of the program:
// a fault in it is the program's.
var definitions = sync.OnceValue(func() *definitionTable {
	t, err := unpackDefinitions(packedDefinitions)
	if err != nil {
		panic("fhir: embedded definitions: " + err.Error())
	}
	return t
})

func unpackDefinitions(packed []byte) (*definitionTable, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return parseDefinitions(string(text))
}

var kindNames = map[string]Kind{
	"primitive": Primitive, "complex": Complex, "backbone": Backbone, "resource": ResourceKind, "abstract": Abstract,
}

// parseDefinitions reads the table's lines: V (a numbered list of codes), T (a
// type: name, kind), and one line for each element of the type above it: name,
// flags (1 required, * list), type, choice group, number of its codes, targets.
func parseDefinitions(text string) (*definitionTable, error) {
	t := &definitionTable{types: make(map[string]*definition, 1000)}
	codes := map[string][]string{}
	var owner string
	var open *definition
	lines := strings.Split(text, "\n")
	all := make([]Element, 0, len(lines)) // never grown: definitions slice it
	first := 0
	for n, line := range lines[1:] {
		var f [6]string
		rest, more := line, true
		for i := 0; more && i < len(f); i++ {
			f[i], rest, more = strings.Cut(rest, "\t")
		}
		switch {
		case line == "":
		case f[0] == "V":
			codes[f[1]] = strings.Split(f[2], " ")
		case f[0] == "T":
			owner, open = f[1], &definition{kind: kindNames[f[2]]}
			first = len(all)
			t.types[owner] = open
			if open.kind == ResourceKind {
				t.resources = append(t.resources, owner)
			}
		case open == nil || f[2] == "":
			return nil, fmt.Errorf("line %d is malformed", n+2)
		default:
			all = append(all, Element{
				Path: owner + "." + f[0], Name: f[0], Type: f[2], Choice: f[3], Codes: codes[f[4]],
				Required: strings.Contains(f[1], "1"), List: strings.Contains(f[1], "*"), Targets: targets(f[5]),
			})
			open.elements = all[first:len(all):len(all)]
		}
	}
	for i := range all {
		d := t.types[all[i].Type]
		if d == nil {
			return nil, fmt.Errorf("%s is of no known type", all[i].Path)
		}
		all[i].Kind = d.kind
	}
	slices.Sort(t.resources)
	return t, nil
}

func targets(list string) []string {
	if list == "" {
		return nil
	}
	names := strings.Split(list, ",")
	if slices.Contains(names, "Resource") {
		return nil
	}
	return names
}
