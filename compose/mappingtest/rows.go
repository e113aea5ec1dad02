package mappingtest

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/compose/mapping"
)

// cell is a column's value as a case writes it. One that is null is not set.
type cell struct {
	column string
	text   string
	set    bool
	line   int
}

// readRows reads a table's rows: YAML, a list of objects, or CSV with a line of
// column names.
func readRows(s section) (rows [][]cell, faults []Failure) {
	first := ""
	s.content(func(_ int, text string) {
		if first == "" {
			first = strings.TrimSpace(text)
		}
	})
	if strings.HasPrefix(first, "-") || strings.HasPrefix(first, "[") {
		return yamlRows(s)
	}
	return csvRows(s)
}

func yamlRows(s section) (rows [][]cell, faults []Failure) {
	fault := func(line int, what, hint string) {
		faults = append(faults, Failure{Line: line, What: what, Hint: hint})
	}
	defer func() {
		if recover() != nil { // the YAML library gives up on some texts this way
			rows = nil
			fault(s.line, "the rows cannot be read as YAML", "")
		}
	}()
	parsed, err := parser.ParseBytes([]byte(s.text), 0)
	if err != nil {
		line, what := yamlError(err)
		fault(s.line+line-1, "the rows cannot be read as YAML: "+what, "")
		return nil, faults
	}
	for _, doc := range parsed.Docs {
		list, ok := doc.Body.(*ast.SequenceNode)
		if !ok {
			fault(s.line, "rows are a list of objects, each after -", "- {column: value}")
			continue
		}
		for _, item := range list.Values {
			fields, ok := objectOf(item)
			if !ok {
				fault(s.line+lineOf(item)-1, "a row is an object of columns", "- {column: value}")
				continue
			}
			var row []cell
			for _, f := range fields {
				c := cell{column: f.Key.GetToken().Value, line: s.line + lineOf(f.Key) - 1}
				if c.text, c.set, ok = scalarOf(f.Value); !ok {
					fault(c.line, "column "+c.column+": a value is text, a number, true, false or null", "put JSON and the like in quotes")
				}
				row = append(row, c)
			}
			rows = append(rows, row)
		}
	}
	return rows, faults
}

func yamlError(err error) (line int, what string) {
	located, ok := err.(interface {
		GetToken() *token.Token
		GetMessage() string
	})
	if !ok {
		return 1, "the text is damaged"
	}
	if t := located.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line, located.GetMessage()
	}
	return 1, located.GetMessage()
}

func lineOf(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 1
}

func objectOf(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// scalarOf returns a value's text as it is written: 007 and 1.0 keep their
// digits, and a date is no more than text.
func scalarOf(n ast.Node) (text string, set, ok bool) {
	switch n := n.(type) {
	case *ast.NullNode:
		return "", false, true
	case *ast.StringNode:
		return n.Value, true, true
	case *ast.LiteralNode:
		return n.Value.Value, true, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true, true
	}
	return "", false, false
}

// csvRows reads CSV. A cell without anything is null, "" in quotes is text.
func csvRows(s section) (rows [][]cell, faults []Failure) {
	var names []cell
	r := csvReader{text: s.text, line: s.line}
	for {
		cells, line, ok := r.record()
		if !ok {
			break
		}
		switch {
		case names == nil:
			for i := range cells {
				cells[i].text = strings.TrimSpace(cells[i].text)
			}
			names = cells
		case len(cells) != len(names):
			faults = append(faults, Failure{Line: line, What: fmt.Sprintf("the row has %d cells, the line of column names %d", len(cells), len(names)),
				Hint: "put a cell that holds a comma in double quotes"})
		default:
			for i := range cells {
				cells[i].column = names[i].text
			}
			rows = append(rows, cells)
		}
	}
	if r.open {
		faults = append(faults, Failure{Line: r.line, What: "a double quote is not closed"})
	}
	return rows, faults
}

// csvReader reads RFC 4180's form, and tells an empty cell from an empty text.
type csvReader struct {
	text string
	line int
	open bool
}

func (r *csvReader) record() (cells []cell, line int, ok bool) {
	for r.text != "" { // blank lines and comments
		l, rest, _ := strings.Cut(r.text, "\n")
		if t := strings.TrimSpace(l); t != "" && t[0] != '#' {
			break
		}
		r.text, r.line = rest, r.line+1
	}
	if r.text == "" {
		return nil, 0, false
	}
	line = r.line
	for {
		c, more := r.cell()
		cells = append(cells, c)
		if !more {
			return cells, line, true
		}
	}
}

// cell reads up to and with the comma or line's end after it.
func (r *csvReader) cell() (c cell, more bool) {
	c.line = r.line
	if !strings.HasPrefix(r.text, `"`) {
		end := strings.IndexAny(r.text, ",\n")
		if end < 0 {
			end = len(r.text)
		}
		c.text = strings.TrimSpace(r.text[:end])
		c.set = c.text != ""
		r.text = r.text[end:]
		return c, r.separator()
	}
	c.set = true
	r.text = r.text[1:]
	for {
		i := strings.IndexByte(r.text, '"')
		if i < 0 {
			r.open, r.text = true, ""
			return c, false
		}
		r.line += strings.Count(r.text[:i], "\n")
		c.text += r.text[:i]
		r.text = r.text[i+1:]
		if !strings.HasPrefix(r.text, `"`) {
			return c, r.separator()
		}
		c.text += `"`
		r.text = r.text[1:]
	}
}

func (r *csvReader) separator() (more bool) {
	end := strings.IndexAny(r.text, ",\n")
	if end < 0 {
		r.text = ""
		return false
	}
	more = r.text[end] == ','
	if !more {
		r.line++
	}
	r.text = r.text[end+1:]
	return more
}

// row makes a table's row of cells.
func row(schema *change.Schema, cells []cell) (values []change.Value, faults []Failure) {
	values = make([]change.Value, len(schema.Columns))
	given := make([]bool, len(schema.Columns))
	name := schema.Table.String()
	for _, c := range cells {
		i := schema.Column(c.column)
		switch {
		case i < 0:
			var known []string
			for _, column := range schema.Columns {
				known = append(known, column.Name)
			}
			faults = append(faults, Failure{Line: c.line, What: fmt.Sprintf("table %s has no column %q", name, c.column), Hint: mapping.DidYouMean(c.column, known)})
			continue
		case given[i]:
			faults = append(faults, Failure{Line: c.line, What: fmt.Sprintf("column %q is given twice", c.column)})
			continue
		}
		given[i] = true
		if !c.set {
			continue
		}
		values[i] = change.Of(c.text)
		if hint := badForm(schema.Columns[i].Type, c.text); hint != "" {
			faults = append(faults, Failure{Line: c.line, What: fmt.Sprintf("column %q of %s is of type %s, and this is no value of it", c.column, name, schema.Columns[i].Type), Hint: hint})
		}
	}
	for _, i := range schema.KeyColumns() {
		if values[i].State != change.Set {
			line := 0
			if len(cells) > 0 {
				line = cells[0].line
			}
			faults = append(faults, Failure{Line: line, What: fmt.Sprintf("a row of %s has no %s, its primary key", name, schema.Columns[i].Name)})
		}
	}
	return values, faults
}
