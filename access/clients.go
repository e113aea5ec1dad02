package access

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-health/tributary/fhir"
)

// maxFile is far above the size of any clients file or list of members.
const maxFile = 256 << 20

// LoadClients reads a clients file (docs/access.md says what is in it) and the
// lists of members that it names. Everything that is wrong is returned at once;
// with a problem that is more than a warning there are no clients.
func LoadClients(file string) ([]Client, []Problem) {
	text, err := readFile(file)
	if err != nil {
		return nil, []Problem{{File: file, Line: 1, Column: 1, What: "the clients file cannot be read: " + plainError(err)}}
	}
	return parseClients(file, text, readFile)
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("it is no file")
	case info.Size() > maxFile:
		return nil, fmt.Errorf("it is larger than %d MiB", maxFile>>20)
	}
	return os.ReadFile(name)
}

// plainError leaves out the path, which the problem names.
func plainError(err error) string {
	if p, ok := err.(*os.PathError); ok {
		return p.Err.Error()
	}
	return err.Error()
}

// clientsFile is a clients file that is being read.
type clientsFile struct {
	reader
	folder   string
	open     func(string) ([]byte, error)
	own      map[string]*datum
	ids      map[string]*yamlNode
	keys     map[[sha256.Size]byte]string
	policies map[string]*Policy // one for all clients that may see the same
	lists    map[string]map[string]struct{}
	clients  []Client
}

func parseClients(file string, text []byte, open func(string) ([]byte, error)) ([]Client, []Problem) {
	f := &clientsFile{
		reader: reader{file: file, hideable: rule.hideable}, folder: filepath.Dir(file), open: open, own: map[string]*datum{}, ids: map[string]*yamlNode{},
		keys: map[[sha256.Size]byte]string{}, policies: map[string]*Policy{}, lists: map[string]map[string]struct{}{},
	}
	root := f.parse(text)
	if root == nil {
		return nil, f.problems
	}
	f.root(root)
	slices.SortStableFunc(f.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(f.rank(a), f.rank(b)), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if Failed(f.problems) {
		return nil, f.problems
	}
	return f.clients, f.problems
}

// rank puts the clients file before the lists that it names.
func (f *clientsFile) rank(p Problem) int {
	if p.File == f.file {
		return 0
	}
	return 1
}

func (f *clientsFile) root(root *yamlNode) {
	var version, data, clients *yamlNode
	f.fields(root, "clients file", "version data clients", func(key string, n *yamlNode) {
		switch key {
		case "version":
			version = n
		case "data":
			data = n
		case "clients":
			clients = n
		}
	})
	switch {
	case version == nil:
		f.add(root, "version is missing", "version: 1")
	case version.text != "1":
		f.add(version, "version: want 1", "")
	}
	if data != nil {
		f.own = f.data(data)
		for _, e := range data.fields {
			if known().data[e.key.text] != nil {
				f.add(e.key, fmt.Sprintf("data: the catalogue has a datum %q", e.key.text), "take another name")
			}
		}
	}
	if clients == nil {
		f.add(root, "clients is missing", "")
		return
	}
	for _, item := range f.list(clients, "clients") {
		f.client(item)
	}
	if len(clients.items) == 0 && clients.kind == listNode {
		f.add(clients, "clients: there is none", "")
	}
}

// clientID reports whether an id may be part of a topic's name and of a folder's.
func clientID(id string) bool {
	for i := range len(id) {
		c := id[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' && i > 0) {
			return false
		}
	}
	return id != "" && len(id) <= 63 && id[len(id)-1] != '-'
}

func (f *clientsFile) client(n *yamlNode) {
	var c Client
	var m meaning
	all := false // types were given
	f.fields(n, "client", "id key_sha256 types hide members changes operator match note", func(key string, v *yamlNode) {
		switch key {
		case "id":
			c.ID = f.id(v)
		case "key_sha256":
			c.KeyHash = f.key(v)
		case "types":
			m.types, all = f.types(v), true
		case "hide":
			m.hide = f.hide(v)
		case "members":
			m.members = f.members(v)
		case "changes":
			c.Changes = f.bool(v, key)
		case "operator":
			c.Operator = f.bool(v, key)
		case "match":
			c.Match = f.match(v)
		case "note":
			c.Note = f.string(v, key)
		}
	})
	for _, key := range []string{"id", "key_sha256", "types", "members"} {
		if n.kind == objectNode && n.field(key) == nil {
			f.add(n, key+" is missing", map[string]string{
				"key_sha256": "the SHA-256 of the key, in hex", "types": "all, or a list", "members": "all, or {list: file}",
			}[key])
		}
	}
	if c.Match != nil && slices.ContainsFunc(m.hide, hiding.asked) {
		f.warn(n.field("match"), "match: a client that may match learns whether what it asks with is right, hidden or not", "leave match out, or hide no birth date, names, addresses, telephone numbers or identifiers")
	}
	if !all {
		return
	}
	if slices.ContainsFunc(m.hide, hiding.birthDate) && (m.types == nil || slices.Contains(m.types, "Task")) {
		f.warn(n.field("types"), "types: a Task that falls due at an age tells the birth date, by being there and since when", "leave Task out")
	}
	p := newPolicy(m)
	if same := f.policies[p.ID()+p.MembersID()]; same != nil {
		p = same
	}
	f.policies[p.ID()+p.MembersID()] = p
	c.Policy = p
	f.clients = append(f.clients, c)
}

func (f *clientsFile) id(n *yamlNode) string {
	id := f.string(n, "id")
	switch {
	case id == "":
	case !clientID(id):
		f.add(n, fmt.Sprintf("id: %q is no client's id", id), "lower-case letters, digits and dashes, at most 63; it becomes part of a topic's name")
	case f.ids[id] != nil:
		f.add(n, fmt.Sprintf("id: %q is given twice", id), fmt.Sprintf("first in line %d", f.ids[id].line))
	default:
		f.ids[id] = n
	}
	return id
}

func (f *clientsFile) key(n *yamlNode) (hash [sha256.Size]byte) {
	text := f.string(n, "key_sha256")
	if text == "" {
		return hash
	}
	raw, err := hex.DecodeString(strings.ToLower(text))
	if err != nil || len(raw) != sha256.Size {
		f.add(n, "key_sha256: want 64 hexadecimal digits", "the SHA-256 of the key; the key itself must not stand here")
		return hash
	}
	hash = [sha256.Size]byte(raw)
	switch place := fmt.Sprintf("line %d", n.line); {
	case hash == [sha256.Size]byte{} || hash == sha256.Sum256(nil):
		f.add(n, "key_sha256: this is the hash of no key", "")
	case f.keys[hash] != "":
		f.add(n, "key_sha256: another client has this key", "first in "+f.keys[hash])
	default:
		f.keys[hash] = place
	}
	return hash
}

// types returns nil for all.
func (f *clientsFile) types(n *yamlNode) []string {
	if n.kind == textNode && n.text == "all" {
		return nil
	}
	types := []string{}
	if n.kind != listNode {
		f.add(n, "types: want all, or a list", "")
	}
	for _, item := range n.items {
		typ := f.string(item, "types")
		switch {
		case typ == "":
		case !fhir.IsResource(typ):
			f.add(item, fmt.Sprintf("types: R4 has no resource type %q", typ), didYouMean(typ, fhir.ResourceTypes()))
		case slices.Contains(types, typ):
			f.add(item, fmt.Sprintf("types: %s is given twice", typ), "")
		}
		types = append(types, typ)
	}
	return types
}

func (f *clientsFile) hide(n *yamlNode) []hiding {
	var all []hiding
	var paths []*yamlNode
	for _, item := range f.list(n, "hide") {
		if item.kind == textNode && !strings.Contains(item.text, ".") && !fhir.IsResource(item.text) {
			if d := f.datumNamed(item); d != nil {
				all = append(all, hiding{datum: d})
			}
			continue
		}
		if p, ok := f.path(item); ok {
			all = append(all, hiding{rule: p})
			paths = append(paths, item)
		}
	}
	i := 0
	for _, h := range all {
		if h.datum == nil {
			f.elsewhere(paths[i], h.rule, all)
			i++
		}
	}
	return all
}

func (f *clientsFile) datumNamed(n *yamlNode) *datum {
	if d := known().data[n.text]; d != nil {
		return d
	}
	if d := f.own[n.text]; d != nil {
		return d
	}
	names := namesOf(f.own)
	hint := "one of " + strings.Join(names, ", ") + "; or an element, as in Patient.photo"
	if near := nearest(n.text, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	f.add(n, fmt.Sprintf("hide: there is no datum %q", n.text), hint)
	return nil
}

// asked reports whether questions by hash are about what is hidden.
func (h hiding) asked() bool {
	if h.datum != nil {
		return slices.Contains([]string{"address", "birth-date", "identifiers", "names", "telephone"}, h.datum.name)
	}
	return h.rule.owner == "Patient" && slices.Contains([]string{"address", "birthDate", "identifier", "name", "telecom"}, h.rule.steps[0])
}

// birthDate reports whether the datum is hidden.
func (h hiding) birthDate() bool { return h.datum != nil && h.datum.name == "birth-date" }

// elsewhere warns of a path that is only one of a datum's places, or a part of one.
func (f *clientsFile) elsewhere(n *yamlNode, r rule, all []hiding) {
	for part := r; len(part.steps) > 0; part.steps = part.steps[:len(part.steps)-1] {
		if f.onePlace(n, part, all) {
			return
		}
	}
}

// onePlace warns if the element is one place of a datum, and reports whether it is.
func (f *clientsFile) onePlace(n *yamlNode, r rule, all []hiding) bool {
	for _, name := range known().names {
		d := known().data[name]
		if !d.covers(r) || len(d.rules) == 1 && len(d.types)+len(d.extensions) == 0 {
			continue
		}
		if slices.ContainsFunc(all, func(h hiding) bool { return h.datum == d }) {
			f.warn(n, fmt.Sprintf("hide: the datum %s hides this already", name), "leave the path out")
		} else {
			f.warn(n, fmt.Sprintf("hide: the datum %s stands elsewhere too", name), "hide "+name+" instead")
		}
		return true
	}
	return false
}

// members returns nil for all.
func (f *clientsFile) members(n *yamlNode) map[string]struct{} {
	if n.kind == textNode && n.text == "all" {
		return nil
	}
	ids := map[string]struct{}{}
	if n.kind != objectNode {
		f.add(n, "members: want all, or {list: file}", "")
		return ids
	}
	f.fields(n, "members", "list", func(_ string, v *yamlNode) {
		if name := f.string(v, "list"); name != "" {
			ids = f.memberList(v, name)
		}
	})
	if len(n.fields) == 0 {
		f.add(n, "members: list is missing", "{list: file}, one Patient's logical id in each line")
	}
	return ids
}

// relative finds a file that is named beside the clients file.
func (f *clientsFile) relative(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(f.folder, name)
}

func (f *clientsFile) memberList(n *yamlNode, name string) map[string]struct{} {
	path := f.relative(name)
	if ids := f.lists[path]; ids != nil {
		return ids
	}
	ids := map[string]struct{}{}
	f.lists[path] = ids
	text, err := f.open(path)
	if err != nil {
		f.add(n, fmt.Sprintf("members: the list %s cannot be read: %s", name, plainError(err)), "")
		return ids
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for line := 1; lines.Scan(); line++ {
		id, _, _ := strings.Cut(lines.Text(), "#")
		id = strings.TrimSpace(id)
		_, twice := ids[id]
		at := Problem{File: path, Line: line, Column: 1}
		switch {
		case id == "":
			continue
		case !fhir.ValidID(id):
			at.What, at.Hint = "this is no Patient's logical id", "one id in each line, without Patient/"
			f.problems = append(f.problems, at)
		case twice:
			at.What, at.Warning = "this member is listed already", true
			f.problems = append(f.problems, at)
		}
		ids[id] = struct{}{}
	}
	if lines.Err() != nil {
		f.problems = append(f.problems, Problem{File: path, Line: 1, Column: 1, What: "a line is too long"})
	} else if len(ids) == 0 {
		f.warn(n, fmt.Sprintf("members: the list %s is empty: the client sees nobody", name), "one Patient's logical id in each line")
	}
	return ids
}

func (f *clientsFile) match(n *yamlNode) *MatchTerms {
	t := &MatchTerms{}
	f.fields(n, "match", "key_file requests_per_day misses misses_per_hit lock_out", func(key string, v *yamlNode) {
		switch key {
		case "key_file":
			if name := f.string(v, key); name != "" {
				t.KeyFile = f.relative(name)
				if _, err := f.open(t.KeyFile); err != nil {
					f.add(v, fmt.Sprintf("match: the key file %s cannot be read: %s", name, plainError(err)), "")
				}
			}
		case "requests_per_day":
			t.Quota.PerDay = f.number(v, key, maxPerDay)
		case "misses":
			t.Quota.Misses = f.number(v, key, maxPerDay)
		case "misses_per_hit":
			t.Quota.MissesPerHit = f.number(v, key, 1000)
		case "lock_out":
			t.Quota.LockOut = f.duration(v, key)
		}
	})
	if n.kind == objectNode && n.field("key_file") == nil {
		f.add(n, "match: key_file is missing", "the key that both sides hold")
	}
	t.Quota = t.Quota.withDefaults()
	return t
}

func (f *clientsFile) number(n *yamlNode, what string, most int) int {
	v, err := strconv.Atoi(n.text)
	if n.kind != numberNode || err != nil || v < 1 || v > most {
		f.add(n, fmt.Sprintf("%s: want a whole number from 1 to %d", what, most), "")
		return 0
	}
	return v
}

func (f *clientsFile) duration(n *yamlNode, what string) time.Duration {
	v, err := time.ParseDuration(n.text)
	if n.kind != textNode || err != nil || v < time.Minute || v > 30*24*time.Hour {
		f.add(n, what+": want a duration from 1m to 720h", "as in 24h")
		return 0
	}
	return v
}
