package mapping

import "slices"

// fold makes a literal of an object or list that has no expression in it.
func fold(v *value) *value {
	for _, m := range v.members {
		if m.choice != 0 || !m.value.constant() {
			return v
		}
	}
	if len(v.members) == 0 {
		return v
	}
	json := []byte{'{'}
	for i, m := range v.members {
		if i > 0 {
			json = append(json, ',')
		}
		json = append(append(json, m.key...), m.value.constantJSON()...)
	}
	return &value{kind: literalValue, json: append(json, '}'), element: v.element, path: v.path, index: -1}
}

func (v *value) constant() bool {
	if v.when != nil || v.each != nil {
		return false
	}
	if v.kind == listValue {
		return len(v.items) > 0 && !slices.ContainsFunc(v.items, func(i *value) bool { return !i.constant() })
	}
	return v.kind == literalValue
}

func (v *value) constantJSON() []byte {
	if v.kind == literalValue {
		return v.json
	}
	json := []byte{'['}
	for i, item := range v.items {
		if i > 0 {
			json = append(json, ',')
		}
		json = append(json, item.constantJSON()...)
	}
	return append(json, ']')
}
