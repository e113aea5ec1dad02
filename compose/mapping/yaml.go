package mapping

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// file is one mapping file's text, by lines, for finding the place in it that a
// place in an expression came from.
type file struct {
	name  string
	lines [][]rune
}

type position struct {
	file         *file
	line, column int
}

func (p position) problem(what, hint string) Problem {
	return Problem{File: p.file.name, Line: p.line, Column: p.column, What: what, Hint: hint}
}

type nodeKind uint8

const (
	textNode   nodeKind = iota + 1 // a scalar that YAML takes for text
	numberNode                     // a scalar that YAML takes for a number, as written
	boolNode
	nullNode
	objectNode
	listNode
)

func (k nodeKind) String() string {
	return [...]string{"nothing", "text", "a number", "a boolean", "nothing", "an object", "a list"}[k]
}

// node is a YAML value with its place: the little of YAML that mappings use.
type node struct {
	kind   nodeKind
	text   string
	at     position
	fields []entry
	items  []*node
	frame  *frame // the use of a fragment that the node was copied for; nil for most
}

type entry struct {
	key   *node
	value *node
}

func (n *node) scalar() bool { return n.kind >= textNode && n.kind <= nullNode }

func (n *node) problem(format string, args ...any) Problem {
	return n.at.problem(fmt.Sprintf(format, args...), "")
}

// get returns the value of an object's key, or nil.
func (n *node) get(key string) *node {
	for _, f := range n.fields {
		if f.key.text == key {
			return f.value
		}
	}
	return nil
}

// yamlReader turns a parsed YAML file into nodes.
type yamlReader struct {
	file     *file
	problems *problems
	depth    int
}

// maxDepth bounds nesting: FHIR's deepest elements lie far above it.
const maxDepth = 64

// readYAML returns the documents of a file.
func readYAML(name string, text []byte, ps *problems) (f *file, docs []*node) {
	f = &file{name: name}
	if !utf8.Valid(text) {
		ps.add(Problem{name, 1, 1, "the file is not UTF-8", ""})
		return f, nil
	}
	for _, line := range strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n") {
		f.lines = append(f.lines, []rune(line))
	}
	defer func() {
		if r := recover(); r != nil { // the YAML library gives up on some texts this way
			ps.add(Problem{name, 1, 1, "the file cannot be read as YAML", ""})
			docs = nil
		}
	}()
	parsed, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		ps.add(syntaxProblem(name, err))
		return f, nil
	}
	r := &yamlReader{file: f, problems: ps}
	for _, doc := range parsed.Docs {
		if doc.Body == nil {
			continue
		}
		if n := r.node(doc.Body); n != nil && n.kind != nullNode {
			docs = append(docs, n)
		}
	}
	return f, docs
}

func syntaxProblem(name string, err error) Problem {
	p := Problem{name, 1, 1, "YAML: the file cannot be read", ""}
	var located interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if errors.As(err, &located) {
		p.What = "YAML: " + located.GetMessage()
		if t := located.GetToken(); t != nil && t.Position != nil {
			p.Line, p.Column = max(t.Position.Line, 1), max(t.Position.Column, 1)
		}
	}
	if strings.Contains(p.What, "mapping value") || strings.Contains(p.What, "unexpected key") {
		p.Hint = "put an expression that holds ': ' or ' #' in quotes"
	}
	return p
}

func (r *yamlReader) pos(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{r.file, 1, 1}
	}
	return position{r.file, max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

// node converts one value; nil after a reported problem.
func (r *yamlReader) node(n ast.Node) *node {
	if n == nil {
		return nil
	}
	if r.depth++; r.depth > maxDepth {
		r.depth--
		r.problems.add(r.pos(n.GetToken()).problem("nested too deep", ""))
		return nil
	}
	defer func() { r.depth-- }()
	at := r.pos(n.GetToken())
	switch n := n.(type) {
	case *ast.StringNode:
		return &node{kind: textNode, text: n.Value, at: at}
	case *ast.LiteralNode:
		return &node{kind: textNode, text: n.Value.Value, at: at}
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return &node{kind: numberNode, text: n.GetToken().Value, at: at}
	case *ast.BoolNode:
		return &node{kind: boolNode, text: n.GetToken().Value, at: at}
	case *ast.NullNode:
		return &node{kind: nullNode, at: at}
	case *ast.MappingNode:
		return r.object(at, n.Values)
	case *ast.MappingValueNode:
		return r.object(at, []*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		out := &node{kind: listNode, at: at}
		for _, item := range n.Values {
			if v := r.node(item); v != nil {
				out.items = append(out.items, v)
			}
		}
		return out
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		r.problems.add(at.problem("anchors, aliases, tags and merge keys are not part of the mapping language", ""))
	case *ast.CommentNode, *ast.CommentGroupNode:
	default:
		r.problems.add(at.problem("this is not part of the mapping language", ""))
	}
	return nil
}

func (r *yamlReader) object(at position, values []*ast.MappingValueNode) *node {
	out := &node{kind: objectNode, at: at}
	seen := map[string]bool{}
	for _, v := range values {
		key := r.node(v.Key)
		if key == nil {
			continue
		}
		if !key.scalar() || key.kind == nullNode {
			r.problems.add(key.at.problem("a key must be plain text", ""))
			continue
		}
		if seen[key.text] {
			r.problems.add(key.problem("%q is given twice", key.text))
			continue
		}
		seen[key.text] = true
		if value := r.node(v.Value); value != nil {
			if value.kind == nullNode {
				value.at = key.at
			}
			out.fields = append(out.fields, entry{key, value})
		}
	}
	if len(out.fields) > 0 && out.fields[0].key.at.line >= 1 && !r.flow(at) {
		out.at = out.fields[0].key.at
	}
	return out
}

// flow reports whether the place holds an opening brace.
func (r *yamlReader) flow(p position) bool {
	return p.line <= len(r.file.lines) && p.column <= len(r.file.lines[p.line-1]) && r.file.lines[p.line-1][p.column-1] == '{'
}

// within returns the place in the file of the offset-th character of a text
// node's value, as near as the source's quoting lets it be found.
func (n *node) within(offset int) position {
	w := walker{lines: n.at.file.lines, line: n.at.line - 1, column: n.at.column - 1}
	quote := w.rune()
	switch quote {
	case '\'', '"':
		w.column++
	case '|', '>':
		w.line++
		w.column = 0
		w.blanks()
		w.indent = w.column
	default:
		quote = 0
	}
	for i, want := range []rune(n.text) {
		if i == offset {
			break
		}
		if !w.pass(want, quote) {
			return n.at
		}
	}
	if w.line >= len(w.lines) {
		return n.at
	}
	if w.rune() == '\n' && offset < utf8.RuneCountInString(n.text) {
		w.newline()
	}
	return position{n.at.file, w.line + 1, w.column + 1}
}

// walker goes along a scalar's source beside its value.
type walker struct {
	lines        [][]rune
	line, column int
	indent       int // of a block scalar; 0 elsewhere
}

func (w *walker) rune() rune {
	if w.line >= len(w.lines) {
		return 0
	}
	if w.column >= len(w.lines[w.line]) {
		return '\n'
	}
	return w.lines[w.line][w.column]
}

func (w *walker) blanks() {
	for c := w.rune(); c == ' ' || c == '\t'; c = w.rune() {
		w.column++
	}
}

func (w *walker) newline() {
	w.line++
	w.column = 0
	if w.indent == 0 {
		w.blanks()
	}
	for c := w.rune(); w.column < w.indent && (c == ' ' || c == '\t'); c = w.rune() {
		w.column++
	}
}

// pass moves over the source of one character of the value.
func (w *walker) pass(want, quote rune) bool {
	c := w.rune()
	switch {
	case c == 0:
		return false
	case c == '\n' && (want == ' ' || want == '\n'):
		w.newline()
		return true
	case c == '\n': // a folded line's break that the value does not show
		w.newline()
		c = w.rune()
	case quote == '\'' && c == '\'', quote == '"' && c == '\\':
		w.column++
		c = w.rune()
	}
	w.column++
	return c == want
}
