package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// configFile is a configuration that is being read: where each of its values
// stands, and what is wrong so far.
type configFile struct {
	path   string
	places map[string]*token.Position // by dotted name, as in sources.emr.kind
	faults []finding
	broken bool // a value is not of the kind that it must be: nothing can be made of the file
}

// readConfig reads and completes a configuration file and returns everything
// that is wrong with it, each with its place. With faults, the Config is what
// could be read of it, and nil if nothing could.
func readConfig(path string) (*Config, []finding) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, []finding{{where: "configuration", what: err.Error(), hint: "name the file with --config"}}
	}
	f := &configFile{path: path, places: map[string]*token.Position{}}
	text := expandEnv(raw, func(name string, line, column int) string {
		v, ok := os.LookupEnv(name)
		if !ok {
			f.faults = append(f.faults, finding{where: fmt.Sprintf("%s:%d:%d", path, line, column),
				what: "the environment variable " + name + " is not set", hint: "export " + name + "=..."})
			return unsetVariable // so that what holds it is not called missing too
		}
		return v
	})
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		f.syntax(err)
		return nil, f.faults
	}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			f.walk("", doc.Body, reflect.TypeFor[Config]())
		}
	}
	var c Config
	if body := firstBody(file); body != nil && !f.broken {
		if err := yaml.NodeToValue(body, &c); err != nil {
			f.syntax(err)
		}
	}
	if f.broken {
		return nil, f.faults
	}
	folder := filepath.Dir(path)
	c.relativeTo(folder)
	c.Kafka.relativeTo(folder)
	f.faults = append(f.faults, c.readAccess()...)
	c.complete(f.fault)
	c.checkAddresses(f.fault)
	return &c, f.faults
}

// firstBody is the document that counts; an empty file has none.
func firstBody(file *ast.File) ast.Node {
	for _, doc := range file.Docs {
		if doc.Body != nil {
			return doc.Body
		}
	}
	return nil
}

// fault records what is wrong with a value, at the value's place or at the place
// of what should hold it.
func (f *configFile) fault(name, what, hint string) {
	where := f.path
	for at := name; ; {
		if p := f.places[at]; p != nil {
			where = fmt.Sprintf("%s:%d:%d", f.path, p.Line, p.Column)
			break
		}
		cut := strings.LastIndexByte(at, '.')
		if cut < 0 {
			break
		}
		at = at[:cut]
	}
	f.faults = append(f.faults, finding{where: where, what: name + ": " + what, hint: hint})
}

// syntax records what the parser or the decoder objects to.
func (f *configFile) syntax(err error) {
	f.broken = true
	where, what := f.path, err.Error()
	if placed, ok := err.(yaml.Error); ok {
		what = placed.GetMessage()
		if t := placed.GetToken(); t != nil && t.Position != nil {
			where = fmt.Sprintf("%s:%d:%d", f.path, t.Position.Line, t.Position.Column)
		}
	}
	f.faults = append(f.faults, finding{where: where, what: what})
}

// walk holds a node against the type that it must fill, and notes its place.
func (f *configFile) walk(name string, n ast.Node, want reflect.Type) {
	if name != "" && f.places[name] == nil {
		f.places[name] = n.GetToken().Position
	}
	if n.Type() == ast.NullType || n.Type() == ast.AnchorType || n.Type() == ast.AliasType {
		return
	}
	switch want.Kind() {
	case reflect.Pointer:
		f.walk(name, n, want.Elem())
	case reflect.Struct, reflect.Map:
		m, ok := n.(ast.MapNode)
		if !ok {
			f.wrong(name, n, "want keys and values")
			return
		}
		for it := m.MapRange(); it.Next(); {
			f.entry(name, it.Key(), it.Value(), want)
		}
	case reflect.Slice:
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			f.wrong(name, n, "want a list")
			return
		}
		for i, v := range list.Values {
			f.walk(fmt.Sprintf("%s[%d]", name, i), v, want.Elem())
		}
	case reflect.Int32, reflect.Int64, reflect.Uint32:
		if n.Type() != ast.IntegerType {
			f.wrong(name, n, "want a whole number")
		}
	case reflect.Bool:
		if n.Type() != ast.BoolType {
			f.wrong(name, n, "want true or false")
		}
	default:
		if _, scalar := n.(ast.ScalarNode); !scalar {
			f.wrong(name, n, "want a text")
		}
	}
}

func (f *configFile) wrong(name string, n ast.Node, what string) {
	f.broken = true
	if name == "" {
		name = "configuration"
		f.places[name] = n.GetToken().Position
	}
	f.fault(name, what, "")
}

// entry goes on with one key of a mapping.
func (f *configFile) entry(parent string, key ast.MapKeyNode, value ast.Node, want reflect.Type) {
	k := key.GetToken().Value
	name := strings.TrimPrefix(parent+"."+k, ".")
	f.places[name] = key.GetToken().Position
	if want.Kind() == reflect.Map {
		f.walk(name, value, want.Elem())
		return
	}
	var known []string
	for i := range want.NumField() {
		tag, _, _ := strings.Cut(want.Field(i).Tag.Get("yaml"), ",")
		if tag == k {
			f.places[name] = value.GetToken().Position
			f.walk(name, value, want.Field(i).Type)
			return
		}
		if tag != "" {
			known = append(known, tag)
		}
	}
	sort.Strings(known)
	f.fault(name, "there is no such key", "one of "+strings.Join(known, ", "))
}
