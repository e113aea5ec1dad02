package hashmatch

import (
	"slices"
	"testing"
)

// A name that is a placeholder as a whole gives no form: neither itself nor a
// part of it, nor a middle name. Beside it a real name counts as it did.
func TestPlaceholdersGiveNothing(t *testing.T) {
	if len(placeholders["family"]) < 10 || len(placeholders["given"]) < 20 || len(nobodies) < 3 {
		t.Fatal("the list of placeholders is nearly empty")
	}
	nothing := func(name Name) {
		t.Helper()
		if p := Normalize(Demographics{Names: []Name{name}}); p.Given != nil || p.Family != nil {
			t.Errorf("%+v gives %v, %v", name, p.Given, p.Family)
		}
		real := Name{Family: "Fairley-Abbott", Given: []string{"June"}}
		p := Normalize(Demographics{Names: []Name{name, real}})
		if !slices.Equal(p.Given, []string{"JUNE"}) || !slices.Equal(p.Family, []string{"FAIRLEYABBOTT", "FAIRLEY", "ABBOTT"}) {
			t.Errorf("%+v beside %+v gives %v, %v", name, real, p.Given, p.Family)
		}
	}
	for _, w := range placeholders["family"] {
		for _, family := range []string{w, w + " Lee", w + "-Lee Ortega", w + " de la Cruz", w + " Lee Jr"} {
			nothing(Name{Family: family})
		}
	}
	for _, w := range placeholders["given"] {
		nothing(Name{Given: []string{w, "Ann"}})
		nothing(Name{Given: []string{w + " Bill", "Ann"}})
	}
	nothing(Name{Family: "Doe", Given: []string{"Mr. John", "Bill"}})
	nothing(Name{Family: "Blo-ggs", Given: []string{"Joe"}})
	nothing(Name{Family: "No-name", Given: []string{"Baby"}})
}
