package mappingtest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/tributary-health/tributary/change"
)

// Schemas are tables' columns, by table.
type Schemas = map[change.Table]*change.Schema

// ParseSchemas reads schemas in their text form: a table's name at the margin,
// then a line for each column with name, type and, where it is so, "key" and
// "null". A line that begins with # is a comment. All
// faults are in the error, each with "name:line: " before it.
func ParseSchemas(name, text string) (Schemas, error) {
	out, faults := parseSchemas(section{line: 1, text: text})
	if len(faults) == 0 {
		return out, nil
	}
	var errs []error
	for _, f := range faults {
		errs = append(errs, fmt.Errorf("%s:%d: %s", name, f.Line, f.message()))
	}
	return nil, errors.Join(errs...)
}

func parseSchemas(s section) (Schemas, []Failure) {
	out := Schemas{}
	var table *change.Schema
	var faults []Failure
	fault := func(line int, what, hint string) {
		faults = append(faults, Failure{Line: line, What: what, Hint: hint})
	}
	s.content(func(line int, text string) {
		words := strings.Fields(text)
		if text[0] != ' ' && text[0] != '\t' {
			t, ok := change.ParseTable(words[0])
			if !ok || len(words) > 1 {
				fault(line, "expected the name of a table, source.table", "columns stand below it, indented")
				return
			}
			if out[t] != nil {
				fault(line, "table "+t.String()+" is given twice", "")
			}
			table = &change.Schema{Table: t}
			out[t] = table
			return
		}
		if table == nil {
			fault(line, "a column stands before any table", "begin with the table's name at the margin")
			return
		}
		c, what, hint := parseColumn(words)
		if what == "" && table.Column(c.Name) >= 0 {
			what = "column " + c.Name + " is given twice"
		}
		if what != "" {
			fault(line, what, hint)
			return
		}
		table.Columns = append(table.Columns, c)
	})
	return out, faults
}

func parseColumn(words []string) (c change.Column, what, hint string) {
	if len(words) < 2 {
		return c, "a column needs a type", "name type [key] [null]"
	}
	c.Name, c.Type = words[0], typeNamed(words[1])
	if c.Type == 0 {
		return c, fmt.Sprintf("there is no type %q", words[1]), "one of " + strings.Join(typeNames(), ", ")
	}
	for _, w := range words[2:] {
		switch w {
		case "key":
			c.Key = true
		case "null":
			c.Nullable = true
		default:
			return c, fmt.Sprintf("%q says nothing of a column", w), "name type [key] [null]"
		}
	}
	return c, "", ""
}

func typeNamed(name string) change.Type {
	for t := change.String; t <= change.EnumSet; t++ {
		if t.String() == name {
			return t
		}
	}
	return 0
}

func typeNames() []string {
	var names []string
	for t := change.String; t <= change.EnumSet; t++ {
		names = append(names, t.String())
	}
	return names
}

// WriteSchemas writes schemas in the form that ParseSchemas reads, by table.
func WriteSchemas(w io.Writer, schemas Schemas) error {
	byName := func(a, b change.Table) int { return strings.Compare(a.String(), b.String()) }
	var b strings.Builder
	for i, t := range slices.SortedFunc(maps.Keys(schemas), byName) {
		if i > 0 {
			b.WriteByte('\n')
		}
		s := schemas[t]
		b.WriteString(t.String() + "\n")
		names, types := 0, 0
		for _, c := range s.Columns {
			names, types = max(names, len(c.Name)), max(types, len(c.Type.String()))
		}
		for _, c := range s.Columns {
			line := fmt.Sprintf("    %-*s  %-*s", names, c.Name, types, c.Type)
			if c.Key {
				line += " key"
			}
			if c.Nullable {
				line += " null"
			}
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
