package mappingtest

import (
	"fmt"
	"os"
	"strings"
)

// rewrite writes the case file with the outcome in the place of what it wanted:
// story and rows stay as they are, then come resources, skipped rows, errors.
func (c *testCase) rewrite(old string, o *outcome) (changed bool, err error) {
	got := o.sections()
	var b strings.Builder
	b.WriteString(strings.TrimRight(withoutNothing(c.inputs, len(got) > 0), "\n") + "\n")
	for _, s := range got {
		b.WriteString("-- " + s.name + " --\n" + s.text)
	}
	if b.String() == old {
		return false, nil
	}
	if err := replaceFile(c.file, b.String()); err != nil {
		return false, fmt.Errorf("rewrite: %w", err)
	}
	return true, nil
}

// withoutNothing drops a section "nothing" that is no longer true.
func withoutNothing(inputs string, drop bool) string {
	if !drop {
		return inputs
	}
	return strings.Replace(inputs, "-- "+nothingSection+" --\n", "", 1)
}

// replaceFile puts a new file in the old one's place, so that a case is never
// half written.
func replaceFile(name, text string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", []byte(text), info.Mode().Perm()); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
