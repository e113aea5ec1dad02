package main

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"
)

// A deviation is a difference that is known, with its reason. Kind is
//
//	ours     only our resource has the fact
//	export   only Synthea's has it
//	differ   the two values match the two expressions
//	day      the same day
//	words    the same words, but for commas and blanks
//	rounded  the same number, as far as the files have digits; the same unit, or
//	         units that match the two expressions, where these say more than .*
//	begins   ours begins with the export's value and a blank
//	missing  Synthea's export has no resource for ours; the key matches
//	extra    we have no resource for Synthea's
type deviation struct {
	typ, path, kind string
	ours, export    *regexp.Regexp
	reason          string
	met             int
}

// parseDeviations reads the list: type, path, kind, two expressions and reason, in
// columns parted by tabs. A path may end in * for all that begin so.
func parseDeviations(text string) ([]*deviation, error) {
	var all []*deviation
	for n, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cells := strings.Split(line, "\t")
		if len(cells) != 6 || strings.TrimSpace(cells[5]) == "" {
			return nil, fmt.Errorf("deviations.txt:%d: want six columns parted by tabs, a reason the last", n+1)
		}
		d := &deviation{typ: cells[0], path: cells[1], kind: cells[2], reason: cells[5]}
		for i, to := range []**regexp.Regexp{&d.ours, &d.export} {
			re, err := regexp.Compile("(?s)^(?:" + cells[3+i] + ")$")
			if err != nil {
				return nil, fmt.Errorf("deviations.txt:%d: %w", n+1, err)
			}
			*to = re
		}
		switch d.kind {
		case "ours", "export", "differ", "day", "words", "rounded", "begins", "missing", "extra":
		default:
			return nil, fmt.Errorf("deviations.txt:%d: no kind %q", n+1, d.kind)
		}
		all = append(all, d)
	}
	return all, nil
}

func (d *deviation) at(typ, path string) bool {
	if d.typ != typ && d.typ != "*" {
		return false
	}
	prefix, open := strings.CutSuffix(d.path, "*")
	return d.path == path || open && strings.HasPrefix(path, prefix)
}

// pair tells whether the deviation explains two values.
func (d *deviation) pair(ours, export string) bool {
	switch d.kind {
	case "differ":
		return d.ours.MatchString(ours) && d.export.MatchString(export)
	case "day":
		return len(ours) >= 10 && len(export) >= 10 && day(ours) == day(export)
	case "words":
		return words(ours) == words(export)
	case "begins":
		export = strings.TrimSpace(export)
		return export != "" && strings.HasPrefix(ours, export+" ")
	case "rounded":
		return d.rounded(ours, export)
	}
	return false
}

// words are a text's, as Synthea's files have them: a comma became a blank.
func words(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, ",", " ")), " ")
}

// rounded tells whether ours is export, rounded to the one digit after the point
// that the files have.
func (d *deviation) rounded(ours, export string) bool {
	a, unitA, _ := strings.Cut(ours, " ")
	b, unitB, _ := strings.Cut(export, " ")
	x, okX := new(big.Rat).SetString(a)
	y, okY := new(big.Rat).SetString(b)
	if !okX || !okY {
		return false
	}
	any := "(?s)^(?:.*)$"
	if unitA != unitB && (d.ours.String() == any || !d.ours.MatchString(unitA) || !d.export.MatchString(unitB)) {
		return false
	}
	half := big.NewRat(5001, 100000) // a little more: the export is rounded itself
	diff := new(big.Rat).Sub(x, y)
	return diff.Abs(diff).Cmp(half) <= 0
}
