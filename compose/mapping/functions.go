package mapping

import (
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/tributary-health/tributary/change"
)

// functionNames are the mapping functions, and those of CEL that mappings use
// most: candidates when a name is unknown.
var functionNames = []string{
	"ref", "id", "code", "date", "addDays", "addMonths", "daysBetween", "latest", "earliest", "digits", "latestBy", "matching", "sortBy", "groupBy", "sum", "distinct", "first", "fail",
	"xml", "has", "size", "filter", "map", "exists", "all", "string", "int", "double", "split", "join", "replace",
	"trim", "lowerAscii", "upperAscii", "substring", "matches", "contains", "startsWith", "endsWith", "indexOf", "slice", "flatten",
}

// functions declares the mapping functions. Their arguments that name types,
// tables, columns and code tables are literals, which the compiler checks.
func (s *Set) functions() []cel.EnvOption {
	a, b := cel.TypeParamType("A"), cel.TypeParamType("B")
	listA, listB := cel.ListType(a), cel.ListType(b)
	str, dyn := cel.StringType, cel.DynType
	fn := func(name string, result *cel.Type, op functions.FunctionOp, args ...*cel.Type) cel.FunctionOpt {
		id := name
		for range args {
			id += "_"
		}
		return cel.Overload(id, args, result, cel.FunctionBinding(op))
	}
	return []cel.EnvOption{
		cel.Function("ref", fn("ref", dyn, s.ref, str, str, dyn), fn("ref", dyn, s.ref, str, str, dyn, str)),
		cel.Function("id", fn("id", dyn, s.id, str, str, dyn), fn("id", dyn, s.id, str, str, dyn, str)),
		cel.Function("code", fn("code", dyn, s.code, str, dyn)),
		cel.Function("date", fn("date", dyn, date, dyn), fn("date", dyn, s.dateIn, dyn, str)),
		cel.Function("addDays", fn("addDays", dyn, addDays, dyn, cel.IntType)),
		cel.Function("addMonths", fn("addMonths", dyn, addMonths, dyn, cel.IntType)),
		cel.Function("daysBetween", fn("daysBetween", dyn, daysBetween, dyn, dyn)),
		cel.Function("latest", fn("latest", dyn, latest, listA)),
		cel.Function("earliest", fn("earliest", dyn, earliest, listA)),
		cel.Function("digits", fn("digits", dyn, digits, dyn)),
		cel.Function("xml", fn("xml", dyn, xmlText, dyn)),
		cel.Function("latestBy", fn("latestBy", listA, latestBy, listA, str, str)),
		cel.Function("matching", fn("matching", listA, matching, listA, str, listB, str)),
		cel.Function("sortBy", fn("sortBy", listA, sortBy, listA, str)),
		cel.Function("groupBy", fn("groupBy", cel.ListType(listA), groupBy, listA, str)),
		cel.Function("sum", fn("sum", dyn, sum, listA, str)),
		cel.Function("distinct", fn("distinct", listA, distinct, listA)),
		cel.Function("first", fn("first", a, first, listA)),
		cel.Function("fail", fn("fail", dyn, fail, str)),
	}
}

// ref makes "Type/id" from a type, a table, a primary key and perhaps a mapping's
// name.
func (s *Set) ref(args ...ref.Val) ref.Val { return s.reference(true, args) }

// id makes only the id.
func (s *Set) id(args ...ref.Val) ref.Val { return s.reference(false, args) }

func (s *Set) reference(whole bool, args []ref.Val) ref.Val {
	key, null, err := keyText(args[2])
	if err != nil {
		return types.WrapErr(err)
	}
	if null {
		return types.NullValue
	}
	name := types.String("")
	if len(args) > 3 {
		name, _ = args[3].(types.String)
	}
	typ, _ := args[0].(types.String)
	table, _ := args[1].(types.String)
	start := ""
	if whole {
		start = string(typ) + "/"
	}
	return types.String(s.referenceText(start, idPrefix(string(typ), string(table), string(name)), key))
}

// escapedKey is change.JoinKey of one column, without its cost where nothing is
// escaped.
func escapedKey(text string) string {
	if strings.ContainsAny(text, "\\\x1f") {
		return change.JoinKey(text)
	}
	return text
}

// keyText makes a primary key's text from a value, a row (its own key), or the
// list of the key's columns.
func keyText(v ref.Val) (key string, null bool, err error) {
	switch v := v.(type) {
	case types.Null:
		return "", true, nil
	case types.String:
		return escapedKey(string(v)), false, nil
	case types.Int:
		return types.Int(v).ConvertToType(types.StringType).Value().(string), false, nil
	case *rowValue:
		return v.key(), false, nil
	case traits.Lister:
		var parts []string
		for it := v.Iterator(); it.HasNext() == types.True; {
			part, ok := plainText(it.Next())
			if !ok {
				return "", true, nil
			}
			parts = append(parts, part)
		}
		return change.JoinKey(parts...), len(parts) == 0, nil
	}
	return "", false, reason("a primary key must be text, a whole number, a row or a list of those")
}

// plainText is the text of a text or whole number.
func plainText(v ref.Val) (string, bool) {
	switch v := v.(type) {
	case types.String:
		return string(v), true
	case types.Int:
		return v.ConvertToType(types.StringType).Value().(string), true
	}
	return "", false
}

func (s *Set) code(args ...ref.Val) ref.Val {
	name, _ := args[0].(types.String)
	t := s.codes[string(name)]
	if t == nil {
		return fault("a code table is missing")
	}
	text, ok := plainText(args[1])
	if !ok {
		if b, isBool := args[1].(types.Bool); isBool {
			text = map[bool]string{true: "true", false: "false"}[bool(b)]
		} else if args[1] == types.NullValue {
			return types.NullValue
		} else {
			return fault("code translates text, found a value of another type")
		}
	}
	if entry, ok := t.entries[text]; ok {
		return types.String(entry)
	}
	return types.NullValue
}

func digits(args ...ref.Val) ref.Val {
	text, ok := plainText(args[0])
	if !ok {
		if args[0] == types.NullValue {
			return types.NullValue
		}
		return fault("digits needs text")
	}
	return types.String(strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, text))
}

var xmlEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// xmlText escapes text for a narrative.
func xmlText(args ...ref.Val) ref.Val {
	text, ok := plainText(args[0])
	if !ok {
		if args[0] == types.NullValue {
			return types.String("")
		}
		return fault("xml needs text")
	}
	return types.String(xmlEscapes.Replace(text))
}

// fail's argument is a literal: its text reaches operators.
func fail(args ...ref.Val) ref.Val {
	text, _ := args[0].(types.String)
	return fault(string(text))
}
