package access

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Problem is one thing that is wrong in a clients file, or, with Warning, one
// that a reviewer should look at.
type Problem struct {
	File         string
	Line, Column int
	What         string
	Hint         string
	Warning      bool
}

// Error prints "file:line:column: what (hint)".
func (p Problem) Error() string {
	s := fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Warning {
		s += "warning: "
	}
	s += p.What
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

// Failed reports whether one of the problems is more than a warning.
func Failed(problems []Problem) bool {
	for _, p := range problems {
		if !p.Warning {
			return true
		}
	}
	return false
}

type nodeKind uint8

const (
	textNode nodeKind = iota + 1 // a scalar that YAML takes for text
	numberNode
	boolNode
	nullNode
	objectNode
	listNode
)

// yamlNode is a YAML value with its place: the little of YAML that these files
// use.
type yamlNode struct {
	kind         nodeKind
	text         string
	line, column int
	fields       []yamlEntry
	items        []*yamlNode
}

type yamlEntry struct{ key, value *yamlNode }

// reader reads one file and gathers what is wrong with it.
type reader struct {
	file     string
	hideable func(rule, string) *fault // what a path must be, beside a path; nil for the catalogue's own
	problems []Problem
	depth    int
}

func (r *reader) add(n *yamlNode, what, hint string) {
	r.problems = append(r.problems, Problem{File: r.file, Line: n.line, Column: n.column, What: what, Hint: hint})
}

func (r *reader) warn(n *yamlNode, what, hint string) {
	r.problems = append(r.problems, Problem{File: r.file, Line: n.line, Column: n.column, What: what, Hint: hint, Warning: true})
}

// parse returns the file's one document, or nil after a reported problem.
func (r *reader) parse(text []byte) (root *yamlNode) {
	start := &yamlNode{line: 1, column: 1}
	if !utf8.Valid(text) {
		r.add(start, "the file is not UTF-8", "")
		return nil
	}
	defer func() {
		if recover() != nil { // the YAML library gives up on some texts this way
			r.add(start, "the file cannot be read as YAML", "")
			root = nil
		}
	}()
	parsed, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return nil
	}
	for _, doc := range parsed.Docs {
		if doc.Body == nil {
			continue
		}
		n := r.node(doc.Body)
		switch {
		case n == nil:
		case root != nil:
			r.add(n, "a second document", "one file holds one document")
		default:
			root = n
		}
	}
	if root == nil && len(r.problems) == 0 {
		r.add(start, "the file is empty", "")
	}
	return root
}

func (r *reader) syntax(err error) {
	at, what := &yamlNode{line: 1, column: 1}, "the file cannot be read"
	var located interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if errors.As(err, &located) {
		what = located.GetMessage()
		at = place(located.GetToken())
	}
	r.add(at, "YAML: "+what, "")
}

func place(t *token.Token) *yamlNode {
	if t == nil || t.Position == nil {
		return &yamlNode{line: 1, column: 1}
	}
	return &yamlNode{line: max(t.Position.Line, 1), column: max(t.Position.Column, 1)}
}

// maxYAMLDepth is far below what these files nest.
const maxYAMLDepth = 32

// node converts one value; nil after a reported problem.
func (r *reader) node(n ast.Node) *yamlNode {
	if n == nil {
		return nil
	}
	at := place(n.GetToken())
	if r.depth++; r.depth > maxYAMLDepth {
		r.depth--
		r.add(at, "nested too deep", "")
		return nil
	}
	defer func() { r.depth-- }()
	switch n := n.(type) {
	case *ast.StringNode:
		at.kind, at.text = textNode, n.Value
	case *ast.LiteralNode:
		at.kind, at.text = textNode, n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		at.kind, at.text = numberNode, n.GetToken().Value
	case *ast.BoolNode:
		at.kind, at.text = boolNode, n.GetToken().Value
	case *ast.NullNode:
		at.kind = nullNode
	case *ast.MappingNode:
		return r.object(at, n.Values)
	case *ast.MappingValueNode:
		return r.object(at, []*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		at.kind = listNode
		for _, item := range n.Values {
			if v := r.node(item); v != nil {
				at.items = append(at.items, v)
			}
		}
	case *ast.CommentNode, *ast.CommentGroupNode:
		return nil
	default:
		r.add(at, "anchors, aliases, tags and merge keys are not used here", "write it out, or give it a name under data")
		return nil
	}
	return at
}

func (r *reader) object(at *yamlNode, values []*ast.MappingValueNode) *yamlNode {
	at.kind = objectNode
	seen := map[string]bool{}
	for i, v := range values {
		key := r.node(v.Key)
		if key == nil {
			continue
		}
		if i == 0 && key.line >= 1 {
			at.line, at.column = key.line, key.column
		}
		if key.kind >= nullNode {
			r.add(key, "a key must be plain text", "")
			continue
		}
		if seen[key.text] {
			r.add(key, fmt.Sprintf("%q is given twice", key.text), "")
			continue
		}
		seen[key.text] = true
		if value := r.node(v.Value); value != nil {
			if value.kind == nullNode {
				value.line, value.column = key.line, key.column
			}
			at.fields = append(at.fields, yamlEntry{key, value})
		}
	}
	return at
}

// fields calls fn for each key of an object, which must be one of known.
func (r *reader) fields(n *yamlNode, what string, known string, fn func(key string, value *yamlNode)) {
	if n.kind != objectNode {
		r.add(n, what+": want keys and values", "")
		return
	}
	names := strings.Fields(known)
	for _, f := range n.fields {
		found := false
		for _, name := range names {
			found = found || name == f.key.text
		}
		if !found {
			hint := "one of " + strings.Join(names, ", ")
			if near := nearest(f.key.text, names); near != "" {
				hint = "did you mean " + near + "?"
			}
			r.add(f.key, fmt.Sprintf("%s: there is no key %q", what, f.key.text), hint)
			continue
		}
		fn(f.key.text, f.value)
	}
}

// string returns a scalar's text. A number is taken as written: codes look like
// numbers.
func (r *reader) string(n *yamlNode, what string) string {
	if n.kind != textNode && n.kind != numberNode || n.text == "" {
		r.add(n, what+": want a text", "")
		return ""
	}
	return n.text
}

func (r *reader) bool(n *yamlNode, what string) bool {
	if n.kind != boolNode {
		r.add(n, what+": want true or false", "")
	}
	return n.text == "true"
}

// list returns the items of a list, none after a reported problem.
func (r *reader) list(n *yamlNode, what string) []*yamlNode {
	if n.kind != listNode {
		r.add(n, what+": want a list", "")
	}
	return n.items
}

// texts returns the texts of a list.
func (r *reader) texts(n *yamlNode, what string) []string {
	var all []string
	for _, item := range r.list(n, what) {
		if s := r.string(item, what); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// nearest is the name that differs from s by the fewest letters, if few.
func nearest(s string, names []string) string {
	best, found := len(s)/3+2, ""
	for _, name := range names {
		if d := distance(strings.ToLower(s), strings.ToLower(name)); d < best {
			best, found = d, name
		}
	}
	return found
}

// distance is how many letters must be put in, left out or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost = 1 + min(before, row[j], row[j+1])
			}
			before, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
