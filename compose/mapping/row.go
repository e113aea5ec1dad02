package mapping

import (
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/tributary-health/tributary/change"
)

// reason is an error whose text holds no value of any row. Only such texts reach
// a caller of Compose.
type reason string

func (r reason) Error() string { return string(r) }

func fault(text string) ref.Val { return types.WrapErr(reason(text)) }

// rowValue is a row in an expression: nothing of it is converted before it is
// asked for.
type rowValue struct {
	Row
	table *table
}

// text returns a column's value as expressions see it, without converting it to
// one of CEL's. ok is false for null.
func (r *rowValue) text(i int) (text string, ok bool) {
	v := r.Values[i]
	if v.State != change.Set {
		return "", false
	}
	return columnText(r.Schema.Columns[i].Type, v.Text, r.table.zone), true
}

// order returns a column's text for comparing it with the same column of other
// rows. Times in UTC order as the source prints them, and need not be made over:
// latestBy looks at every fill that a member ever had.
func (r *rowValue) order(i int) string {
	v := r.Values[i]
	switch t := r.Schema.Columns[i].Type; {
	case v.State != change.Set:
		return ""
	case t == change.Date, t == change.Instant, t == change.Timestamp && r.utc():
		return strings.TrimSuffix(v.Text, "Z")
	}
	text, _ := r.text(i)
	return strings.TrimSuffix(text, "Z")
}

// utc reports whether the table's time stamps without a zone are in UTC.
func (r *rowValue) utc() bool { return r.table.utc() }

func (t *table) utc() bool { return t.zone == nil || t.zone == time.UTC }

// column is one column as an expression names it. It remembers where the column
// was in the last schema it met.
type column struct {
	name string
	last atomic.Pointer[columnPlace]
}

type columnPlace struct {
	schema *change.Schema
	index  int
}

func (c *column) find(s *change.Schema) (int, error) {
	if p := c.last.Load(); p != nil && p.schema == s {
		return p.index, nil
	}
	i := s.Column(c.name)
	if i < 0 {
		return 0, reason(noColumn(s.Table.String(), c.name))
	}
	c.last.Store(&columnPlace{s, i})
	return i, nil
}

// of returns the column's index in a row, checking that the row has a value for
// it that is known.
func (c *column) of(r *rowValue) (int, error) {
	i, err := c.find(r.Schema)
	if err != nil {
		return 0, err
	}
	if i >= len(r.Values) || r.Values[i].State == change.Unchanged {
		return 0, reason("column " + quote(c.name) + " of table " + r.Schema.Table.String() + " is missing from the row state")
	}
	return i, nil
}

// value is the column as a CEL value.
func (c *column) value(r *rowValue) (ref.Val, error) {
	i, err := c.of(r)
	if err != nil {
		return nil, err
	}
	v := r.Values[i]
	if v.State == change.Null {
		return types.NullValue, nil
	}
	switch t := r.Schema.Columns[i].Type; t {
	case change.Bool:
		return types.Bool(v.Text == "true"), nil
	case change.Int, change.Uint:
		if n, err := strconv.ParseInt(v.Text, 10, 64); err == nil {
			return types.Int(n), nil
		}
		return types.String(v.Text), nil
	case change.Bytes:
		return types.Bytes(v.Text), nil
	default:
		return types.String(columnText(t, v.Text, r.table.zone)), nil
	}
}

// columnText gives the two kinds of time stamp FHIR's form; other types keep
// their text. A text that is no time stamp stays as it is: the element it goes to
// refuses it.
func columnText(t change.Type, text string, zone *time.Location) string {
	switch t {
	case change.Instant:
		local, ok := strings.CutSuffix(text, "Z")
		if !ok {
			return text
		}
		return trimFraction(local) + "Z"
	case change.Timestamp:
		if !isDateTime(text) {
			return text
		}
		if zone == time.UTC {
			return trimFraction(text) + "Z"
		}
		local, err := time.ParseInLocation("2006-01-02T15:04:05", text, zone)
		if err != nil {
			return text
		}
		return trimFraction(local.UTC().Format("2006-01-02T15:04:05.999999999")) + "Z"
	}
	return text
}

// trimFraction cuts off a fraction that is zero.
func trimFraction(text string) string {
	dot := strings.LastIndexByte(text, '.')
	if dot < 0 || strings.Trim(text[dot+1:], "0") != "" {
		return text
	}
	return text[:dot]
}

// isDateTime reports whether the text has the form 2006-01-02T15:04:05[.f]; that
// its day exists is checked where a date is needed.
func isDateTime(text string) bool {
	return len(text) >= 19 && validDate(text[:10]) && text[10] == 'T' && validClock(text[11:])
}

// get and isSet are what CEL's field access calls; target is a row or null.
func (c *column) get(target any) (any, error) {
	r, ok := target.(*rowValue)
	if !ok {
		return nil, reason("column " + quote(c.name) + " is asked of a row that is not there")
	}
	v, err := c.value(r)
	return v, err
}

func (c *column) isSet(target any) bool {
	r, ok := target.(*rowValue)
	if !ok {
		return false
	}
	i, err := c.find(r.Schema)
	return err == nil && i < len(r.Values) && r.Values[i].State == change.Set
}

// The methods of ref.Val, and traits.Indexer for rows whose table the compiler
// could not tell.

// ConvertToNative implements ref.Val; a row has no other form.
func (r *rowValue) ConvertToNative(reflect.Type) (any, error) {
	return nil, reason("a row is not a value")
}

// ConvertToType implements ref.Val.
func (r *rowValue) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return types.NewObjectType(r.table.decl.Table.String())
	}
	return fault("a row is not a value")
}

// Equal implements ref.Val: the same row of the same table.
func (r *rowValue) Equal(other ref.Val) ref.Val {
	o, ok := other.(*rowValue)
	if !ok {
		return types.False
	}
	return types.Bool(r == o || r.table.decl.Table == o.table.decl.Table && r.key() == o.key())
}

// Type implements ref.Val.
func (r *rowValue) Type() ref.Type { return rowType }

// Value implements ref.Val.
func (r *rowValue) Value() any { return r }

// Get implements traits.Indexer.
func (r *rowValue) Get(index ref.Val) ref.Val {
	name, ok := index.(types.String)
	if !ok {
		return fault("a row's columns are named by text")
	}
	c := column{name: string(name)}
	v, err := c.value(r)
	if err != nil {
		return types.WrapErr(err)
	}
	return v
}

// IsSet implements traits.FieldTester.
func (r *rowValue) IsSet(field ref.Val) ref.Val {
	name, _ := field.(types.String)
	return types.Bool((&column{name: string(name)}).isSet(r))
}

var rowType = types.NewObjectType("row", traits.IndexerType, traits.FieldTesterType)

// key is the row's primary key as one text.
func (r *rowValue) key() string {
	if r.Key != "" {
		return r.Key
	}
	k, _ := r.Schema.Key(r.Values)
	return k
}
