package fhir

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// searchTable is one type's parameters and the tree of their paths.
type searchTable struct {
	params []SearchParam
	root   *pathNode
}

// pathNode is one step of the paths: what lies below it, what lies below it in
// some of the items only, and the parameters whose path ends here.
type pathNode struct {
	below map[string]*pathNode
	some  []someNode
	ends  []int
}

// someNode is the step to those items of the element that satisfy only.
type someNode struct {
	name string
	only Only
	node *pathNode
}

var (
	searchTypes  = slices.Sorted(maps.Keys(parameters))
	searchTables = buildTables()
	anyTable     = newSearchTable("", anyParameters)
)

func buildTables() map[string]*searchTable {
	tables := make(map[string]*searchTable, len(parameters))
	for name, params := range parameters {
		tables[name] = newSearchTable(name, params)
	}
	return tables
}

func newSearchTable(resourceType string, params []SearchParam) *searchTable {
	t := &searchTable{params: slices.Clone(params), root: &pathNode{}}
	slices.SortStableFunc(t.params, func(a, b SearchParam) int { return strings.Compare(a.Name, b.Name) })
	for i := range t.params {
		p := &t.params[i]
		p.Definition = definitionOf(resourceType, p.Name)
		if p.stored = storedAs(t.params[:i], p); p.stored != p.Name {
			continue
		}
		for _, path := range p.Paths {
			t.root.add(strings.Split(path, "."), p.Only, i)
		}
	}
	return t
}

// storedAs finds the earlier parameter that has the same values, so that they
// are kept once: a member's search reads all of its entries.
func storedAs(before []SearchParam, p *SearchParam) string {
	for i := range before {
		q := &before[i]
		if q.Posted == p.Posted && q.Kind == p.Kind && q.Only == p.Only && q.System == p.System &&
			slices.Equal(q.Paths, p.Paths) && slices.Equal(q.Targets, p.Targets) {
			return q.stored
		}
	}
	return p.Name
}

// tableOf returns the type's own table, for another FHIR type the one that all
// share, and nil for what is no type.
func tableOf(resourceType string) *searchTable {
	if t := searchTables[resourceType]; t != nil {
		return t
	}
	if !IsResource(resourceType) {
		return nil
	}
	return anyTable
}

// add grows the path; only holds for its first step.
func (n *pathNode) add(path []string, only Only, param int) {
	switch {
	case len(path) == 0:
		n.ends = append(n.ends, param)
	case only != Only{}:
		n.some = append(n.some, someNode{path[0], only, &pathNode{}})
		n.some[len(n.some)-1].node.add(path[1:], Only{}, param)
	default:
		if n.below == nil {
			n.below = make(map[string]*pathNode)
		}
		next := n.below[path[0]]
		if next == nil {
			next = &pathNode{}
			n.below[path[0]] = next
		}
		next.add(path[1:], Only{}, param)
	}
}

func (t *searchTable) param(name string) *SearchParam {
	i, ok := slices.BinarySearchFunc(t.params, name, func(p SearchParam, name string) int { return strings.Compare(p.Name, name) })
	if !ok {
		return nil
	}
	return &t.params[i]
}

// An index is a format byte, then for each parameter that has values, in the
// order of names: the name, and a block of values, each with its length before
// it. It names its parameters, so that it can be read by a later table.
//
//	token      0 code | 1+length of system, system, code
//	string     length of text, text, folded text
//	date       low, high: 8 bytes each, big endian, sign flipped
//	reference  "Type/id", or the URL as it stands
//	quantity   number, system, code, unit: each with its length before it
const indexFormat = 1

// IndexVersion names what search entries and postings hold: entries of another
// version do not answer today's searches. It changes with every change of the
// parameters' tables.
func IndexVersion() string { return indexVersion }

var indexVersion = func() string {
	h := sha256.New()
	fmt.Fprintln(h, indexFormat)
	for _, name := range append(slices.Clone(searchTypes), "") {
		params := anyParameters
		if name != "" {
			params = parameters[name]
		}
		for _, p := range params {
			fmt.Fprintf(h, "%s %q %v %v %q %v %q %q\n", name, p.Name, p.Kind, p.Paths, p.System, p.Only, p.Targets, p.PostedAs)
			fmt.Fprintln(h, p.Posted)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}()

// indexer holds the values of one resource while it is walked.
type indexer struct {
	table  *searchTable
	blocks [][]byte
	value  []byte
	a, b   []byte
}

var indexers = sync.Pool{New: func() any { return new(indexer) }}

// AppendIndex appends the search values of a resource of the type, in the form
// that Criterion.Match reads, and nothing for a type without search parameters.
// Elements that are not what their parameter expects are left out. dst may be
// nil; body is not kept.
func AppendIndex(dst []byte, resourceType string, body []byte) []byte {
	x := newIndexer(resourceType, body)
	if x == nil {
		return dst
	}
	defer indexers.Put(x)
	return x.appendIndex(dst)
}

// Index returns what AppendIndex and Postings do, in one pass over the body.
func Index(resourceType string, body []byte) (index []byte, postings []Posting) {
	x := newIndexer(resourceType, body)
	if x == nil {
		return nil, nil
	}
	defer indexers.Put(x)
	return x.appendIndex(nil), x.postings()
}

func (x *indexer) appendIndex(dst []byte) []byte {
	dst = append(dst, indexFormat)
	for i, block := range x.blocks {
		if len(block) == 0 {
			continue
		}
		dst = appendSized(dst, x.table.params[i].Name)
		dst = appendSized(dst, block)
	}
	return dst
}

func newIndexer(resourceType string, body []byte) *indexer {
	table := tableOf(resourceType)
	if table == nil {
		return nil
	}
	x := indexers.Get().(*indexer)
	x.table = table
	for len(x.blocks) < len(table.params) {
		x.blocks = append(x.blocks, nil)
	}
	x.blocks = x.blocks[:len(table.params)]
	for i := range x.blocks {
		x.blocks[i] = x.blocks[i][:0]
	}
	x.walk(body, table.root)
	return x
}

func (x *indexer) walk(value []byte, node *pathNode) {
	if len(value) > 0 && value[0] == '[' {
		_ = EachItem(value, func(item []byte) bool {
			x.walk(item, node)
			return true
		})
		return
	}
	for _, param := range node.ends {
		x.add(param, value)
	}
	if node.below == nil && node.some == nil {
		return
	}
	_ = EachMember(value, func(name, v []byte) bool {
		if next := node.below[string(name)]; next != nil {
			x.walk(v, next)
		}
		for i := range node.some {
			if node.some[i].name == string(name) {
				x.walkSome(v, &node.some[i])
			}
		}
		return true
	})
}

// walkSome walks the items that satisfy the step's condition.
func (x *indexer) walkSome(value []byte, some *someNode) {
	if len(value) > 0 && value[0] == '[' {
		_ = EachItem(value, func(item []byte) bool {
			x.walkSome(item, some)
			return true
		})
		return
	}
	if text, ok := Text(Member(value, some.only.Member)); ok && text == some.only.Value {
		x.walk(value, some.node)
	}
}

func (x *indexer) add(param int, value []byte) {
	switch x.table.params[param].Kind {
	case TokenParam:
		x.addToken(param, value)
	case StringParam:
		if s, ok := Text(value); ok && s != "" {
			x.value = append(appendSized(x.value[:0], s), Fold(s)...)
			x.put(param)
		}
	case DateParam:
		if r, ok := dateOf(value); ok {
			x.value = appendRange(x.value[:0], r)
			x.put(param)
		}
	case ReferenceParam:
		x.addReference(param, value)
	case QuantityParam:
		if q, ok := quantityOf(value); ok {
			x.value = q.append(x.value[:0])
			x.put(param)
		}
	}
}

// addReference takes a Reference with an address, unless that is of a type that
// the parameter does not lead to.
func (x *indexer) addReference(param int, value []byte) {
	s, ok := Text(Member(value, "reference"))
	if !ok || s == "" {
		return
	}
	targets := x.table.params[param].Targets
	s = unversioned(s)
	if typ := typeInReference(s); targets != nil && typ != "" && !slices.Contains(targets, typ) {
		return
	}
	x.value = append(x.value[:0], s...)
	x.put(param)
}

// typeInReference reads the type from "Type/id" or ".../Type/id"; empty for a
// reference of another form.
func typeInReference(s string) string {
	slash := strings.LastIndexByte(s, '/')
	if slash < 0 {
		return ""
	}
	if s = s[strings.LastIndexByte(s[:slash], '/')+1 : slash]; !validType(s) {
		return ""
	}
	return s
}

// put adds x.value to the parameter's block.
func (x *indexer) put(param int) {
	x.blocks[param] = appendSized(x.blocks[param], x.value)
}

// addToken takes a code, a boolean, a Coding, a CodeableConcept or an
// Identifier: which one is told by its shape.
func (x *indexer) addToken(param int, value []byte) {
	if len(value) == 0 {
		return
	}
	switch value[0] {
	case '"':
		if x.b, _ = appendText(x.b[:0], value); len(x.b) > 0 {
			x.putToken(param, nil, x.b)
		}
	case 't', 'f':
		x.putToken(param, nil, value)
	case '{':
		var system, code []byte
		_ = EachMember(value, func(name, v []byte) bool {
			switch string(name) {
			case "coding":
				_ = EachItem(v, func(coding []byte) bool {
					x.addToken(param, coding)
					return true
				})
			case "system":
				x.a, _ = appendText(x.a[:0], v)
				system = x.a
			case "code", "value":
				x.b, _ = appendText(x.b[:0], v)
				code = x.b
			}
			return true
		})
		if len(code) > 0 {
			x.putToken(param, system, code)
		}
	}
}

func (x *indexer) putToken(param int, system, code []byte) {
	x.value = append(x.value[:0], 0)
	if len(system) > 0 {
		x.value = append(binary.AppendUvarint(x.value[:0], uint64(len(system))+1), system...)
	}
	x.value = append(x.value, code...)
	x.put(param)
}

// cutToken reads what putToken wrote; system is empty when there is none.
func cutToken(value []byte) (system, code []byte) {
	n, k := binary.Uvarint(value)
	if k <= 0 || n > uint64(len(value)-k)+1 {
		return nil, nil
	}
	if code = value[k:]; n > 0 {
		system, code = code[:n-1], code[n-1:]
	}
	return system, code
}

// dateOf reads a date, dateTime or instant, or a Period.
func dateOf(value []byte) (DateRange, bool) {
	if s, ok := Text(value); ok {
		r, err := ParseDate(s)
		return r, err == nil
	}
	r, ok := Always, false
	_ = EachMember(value, func(name, v []byte) bool {
		s, isText := Text(v)
		if !isText {
			return true
		}
		bound, err := ParseDate(s)
		switch {
		case err != nil:
		case string(name) == "start":
			r.Low, ok = bound.Low, true
		case string(name) == "end":
			r.High, ok = bound.High, true
		}
		return true
	})
	return r, ok
}

func unversioned(reference string) string {
	if i := strings.Index(reference, "/_history/"); i >= 0 {
		return reference[:i]
	}
	return reference
}

func appendSized[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// cutSized cuts off what appendSized appended.
func cutSized(b []byte) (s, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, nil, false
	}
	return b[k : k+int(n)], b[k+int(n):], true
}

func appendRange(dst []byte, r DateRange) []byte {
	return appendInt(appendInt(dst, r.Low), r.High)
}

// appendInt writes v so that bytes order as the numbers do.
func appendInt(dst []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(v)^(1<<63))
}

func cutInt(b []byte) int64 { return int64(binary.BigEndian.Uint64(b) ^ (1 << 63)) }

func cutRange(b []byte) (DateRange, bool) {
	if len(b) != 16 {
		return DateRange{}, false
	}
	return DateRange{cutInt(b), cutInt(b[8:])}, true
}

// indexed returns the block of the parameter's values, nil if it has none.
func indexed(index []byte, param string) []byte {
	if len(index) == 0 || index[0] != indexFormat {
		return nil
	}
	for b := index[1:]; len(b) > 0; {
		name, rest, ok := cutSized(b)
		if !ok {
			return nil
		}
		block, rest, ok := cutSized(rest)
		if !ok || string(name) == param {
			return block
		}
		if string(name) > param { // names are in order
			return nil
		}
		b = rest
	}
	return nil
}

// eachValue calls fn for the values of a block until fn returns false.
func eachValue(block []byte, fn func(value []byte) bool) {
	for len(block) > 0 {
		value, rest, ok := cutSized(block)
		if !ok || !fn(value) {
			return
		}
		block = rest
	}
}
