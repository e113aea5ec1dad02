package mapping

import (
	"math/big"
	"strings"
	"testing"
)

// What a tally gives is what big.Rat gives, at the scale of the addend with the most digits.
func FuzzTally(f *testing.F) {
	for _, seed := range []string{"1 2", "0.10 -0.1", "-0.005 .5 5.", "99999999999999999999.99 0.01", "1e3", "+1 --1", "- 0", "٣", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var total tally
		want, scale, n := new(big.Rat), 0, 0
		for _, addend := range strings.Fields(text) {
			r, ok := new(big.Rat).SetString(addend)
			ok = ok && strings.Trim(addend, "+-.0123456789") == ""
			_, fraction, _ := strings.Cut(addend, ".")
			if len(fraction) > maxScale {
				return
			}
			if got := total.add(addend); got != ok {
				t.Fatalf("%q is a decimal: %v, want %v", addend, got, ok)
			}
			if ok {
				want.Add(want, r)
				scale, n = max(scale, len(fraction)), n+1
			}
		}
		if got := total.String(); n != total.addends || got != want.FloatString(scale) && !(want.Sign() == 0 && strings.Trim(got, "0.") == "") {
			t.Fatalf("the sum is %s, want %s", got, want.FloatString(scale))
		}
	})
}
