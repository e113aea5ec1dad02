package mapping

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"hash"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/tributary-health/tributary/change"
)

// Options are what a Set needs beside its files. IDKey is the key of the hash
// that makes resource ids from source keys; whoever has it can find the id of a
// row. The zero value makes ids that anyone can recompute.
type Options struct {
	IDKey []byte
}

// Set is a folder of mappings, compiled. Everything but Check is safe for
// concurrent use.
type Set struct {
	options   Options
	version   string
	docs      []document
	tables    []TableDecl
	byTable   map[change.Table]*table
	codes     map[string]*codeTable
	resources []*Resource
	zones     map[string]*time.Location
	reported  map[Problem]bool
	hashers   sync.Pool
	made      referenceCache
	located   sync.Map // zones that expressions name: *time.Location by name
	plain     bool     // every expression is CEL's: for tests
}

// document is one YAML document of a file.
type document struct {
	root *node
}

// Load reads and compiles every file of fsys whose name ends in .yaml, folders
// included, in the order of their paths. It reports every problem it finds, by
// place. The Set is never nil; if there are problems it serves for Check, Tables
// and Version only.
func Load(fsys fs.FS, options Options) (*Set, []Problem) {
	return load(fsys, &Set{options: options})
}

func load(fsys fs.FS, s *Set) (*Set, []Problem) {
	s.hashers.New = func() any { return newHasher(s.options.IDKey) }
	ps := &problems{}
	version := sha256.New()
	files := 0
	err := fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() || !strings.HasSuffix(path, ".yaml") {
			if strings.HasSuffix(path, ".yml") {
				ps.add(Problem{path, 1, 1, "the file is not read", "mapping files end in .yaml"})
			}
			return nil
		}
		text, err := fs.ReadFile(fsys, path)
		if err != nil {
			return err
		}
		files++
		versionPart(version, path, text)
		_, docs := readYAML(path, text, ps)
		for _, root := range docs {
			s.docs = append(s.docs, document{root})
		}
		return nil
	})
	if err != nil {
		ps.add(Problem{".", 1, 1, "the mapping folder cannot be read: " + err.Error(), ""})
	} else if files == 0 {
		ps.add(Problem{".", 1, 1, "the folder holds no mapping", "mapping files end in .yaml"})
	}
	s.version = hex.EncodeToString(version.Sum(nil)[:16])
	c := newCompiler(s, nil, ps)
	c.run()
	s.tables, s.byTable, s.resources = c.declared(), c.tables, c.resources
	s.zones = map[string]*time.Location{}
	for _, t := range c.tableOrder {
		s.zones[t.decl.Zone] = t.zone
	}
	list := ps.sorted()
	s.reported = make(map[Problem]bool, len(list))
	for _, p := range list {
		s.reported[p] = true
	}
	return s, list
}

func versionPart(h hash.Hash, path string, text []byte) {
	sum := sha256.Sum256(text)
	h.Write([]byte(path))
	h.Write([]byte{0})
	h.Write(sum[:])
}

// Check compiles everything once more, now against the sources' schemas, and
// reports the problems that Load could not see: tables and columns that do not
// exist, keys and times of the wrong type. It MUST NOT run beside other methods.
func (s *Set) Check(schemas map[change.Table]*change.Schema) []Problem {
	if schemas == nil {
		schemas = map[change.Table]*change.Schema{}
	}
	ps := &problems{}
	c := newCompiler(s, schemas, ps)
	c.run()
	s.tables = c.declared()
	var fresh []Problem
	for _, p := range ps.sorted() {
		if !s.reported[p] {
			fresh = append(fresh, p)
		}
	}
	return fresh
}

// Tables returns the declared tables in the order of their declaration.
func (s *Set) Tables() []TableDecl { return s.tables }

// Table returns a declared table.
func (s *Set) Table(t change.Table) (TableDecl, bool) {
	for _, d := range s.tables {
		if d.Table == t {
			return d, true
		}
	}
	return TableDecl{}, false
}

// Root returns the root table; the zero TableDecl if Load had problems with it.
func (s *Set) Root() TableDecl {
	for _, d := range s.tables {
		if d.Root {
			return d
		}
	}
	return TableDecl{}
}

// Resources returns the resource mappings in the order of their declaration.
func (s *Set) Resources() []*Resource { return s.resources }

// Version names the content of the mapping files: sets with equal files have
// equal versions.
func (s *Set) Version() string { return s.version }

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ResourceID returns the id of the resource of a type that the mapping of that
// name (empty for none) makes of the row with the given primary key.
func (s *Set) ResourceID(typ string, table change.Table, name, key string) string {
	return string(s.appendID(nil, idPrefix(typ, table.String(), name), key))
}

// idPrefix is what the hash covers before the primary key.
func idPrefix(typ, table, name string) string { return typ + "\x00" + table + "\x00" + name + "\x00" }

func (s *Set) appendID(dst []byte, prefix, key string) []byte {
	h := s.hashers.Get().(*hasher)
	h.hash.Reset()
	h.buf = append(append(h.buf[:0], prefix...), key...)
	h.hash.Write(h.buf)
	h.buf = h.hash.Sum(h.buf[:0])
	dst = idEncoding.AppendEncode(dst, h.buf[:16])
	s.hashers.Put(h)
	return dst
}

// hasher is a keyed hash and room for what it reads and gives.
type hasher struct {
	hash hash.Hash
	buf  []byte
}

func newHasher(key []byte) *hasher { return &hasher{hash: hmac.New(sha256.New, key)} }

// referenceText is an id with a text before it.
func (s *Set) referenceText(start, prefix, key string) string {
	shard := s.made.shard(key)
	if text, ok := shard.get(prefix, key); ok {
		if start == "" {
			return text[strings.IndexByte(text, '/')+1:]
		}
		return text
	}
	var buf [96]byte
	typ, _, _ := strings.Cut(prefix, "\x00")
	text := string(s.appendID(append(append(buf[:0], typ...), '/'), prefix, key))
	shard.put(prefix, key, text)
	return text[len(typ)+1-len(start):]
}

// RowTime returns the value of a row's Time column as expressions see it, in
// FHIR's form; ok is false if the table has no such column, or it is null or no
// date. The one of a member's rows that is Later than all others is
// Input.Newest.
func (s *Set) RowTime(r Row) (text string, ok bool) {
	if r.Schema == nil {
		return "", false
	}
	d, ok := s.Table(r.Schema.Table)
	if !ok || d.Time == "" {
		return "", false
	}
	i := r.Schema.Column(d.Time)
	if i < 0 || i >= len(r.Values) || r.Values[i].State != change.Set {
		return "", false
	}
	text = columnText(r.Schema.Columns[i].Type, r.Values[i].Text, s.zones[d.Zone])
	return text, validDateTime(text, false)
}

// Later reports whether the time a, as RowTime gives it, is after b. A day comes
// before every time of it.
func Later(a, b string) bool { return strings.TrimSuffix(a, "Z") > strings.TrimSuffix(b, "Z") }
