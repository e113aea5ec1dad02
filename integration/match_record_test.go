package integration

import (
	"encoding/json"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// onRecord compares the record with what was asked, and looks for demographics in
// everything that is written or printed.
func (m *matchRun) onRecord(t *testing.T) {
	out := m.audit(t, "list", "--json")
	have := map[attempt]int{}
	shown := map[string]int{}
	var wrong reporter
	for line := range strings.Lines(out) {
		var e struct {
			Kind, Client, Outcome, Reason, Request string
			Subjects                               []struct {
				Patient   string
				Resources []string
			}
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if e.Kind != "match" {
			continue
		}
		if e.Outcome == "ok" && strings.HasPrefix(e.Reason, "mixed") {
			e.Reason = "" // answered all the same: most of what the partner knows is old
		}
		have[attempt{e.Client, e.Outcome, e.Reason}]++
		if e.Request != "POST Patient/$hash-match" {
			wrong.add("the request is another", line)
		}
		if (e.Outcome == "ok") != (len(e.Subjects) == 1) {
			wrong.add("an attempt tells of too many members, or of none", line)
		}
		for _, s := range e.Subjects {
			shown[s.Patient]++
			if len(s.Resources) == 0 || !strings.HasPrefix(s.Resources[0], "Patient/"+s.Patient+"/_history/") {
				wrong.add("not what was shown", line)
			}
		}
	}
	wrong.report(t)
	sameCounts(t, "attempts", have, m.attempts)
	sameCounts(t, "matches of", shown, m.hits)
	m.accounted(t)
	m.audit(t, "verify")
	operators := m.endRun(t)
	m.nothingLeaks(t, operators)
}

// sameCounts compares what is on the record with what was asked.
func sameCounts[K comparable](t *testing.T, what string, have, want map[K]int) {
	t.Helper()
	all := maps.Clone(have)
	maps.Copy(all, want)
	for k := range all {
		if have[k] != want[k] {
			t.Errorf("%s %v: %d on the record, %d were made", what, k, have[k], want[k])
		}
	}
}

// accounted asks the command for each member who was matched, and one who was not.
func (m *matchRun) accounted(t *testing.T) {
	t.Helper()
	ids := []string{m.ids[m.people[len(m.people)-1].key]}
	for id := range m.hits {
		ids = append(ids, id)
	}
	for _, id := range ids {
		n := 0
		for line := range strings.Lines(m.audit(t, "account", "--json", id)) {
			if strings.Contains(line, `"kind":"match"`) {
				n++
			}
		}
		if n != m.hits[id] {
			t.Errorf("the account of Patient/%s has %d matches, want %d", id, n, m.hits[id])
		}
	}
}

// audit runs `tributary audit` and returns what it prints to standard output.
func (m *matchRun) audit(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"audit", args[0], "--work", m.work}, args[1:]...)...)
	var printed strings.Builder
	cmd.Stderr = &printed
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("audit %v: %v\n%s%s", args, err, out, printed.String())
	}
	m.printed.WriteString(printed.String())
	return string(out)
}

// endRun ends the process, and returns what operators were told before.
func (m *matchRun) endRun(t *testing.T) (operators string) {
	t.Helper()
	for _, path := range []string{"/status", "/metrics"} {
		code, _, body, err := m.tryGetAs(m.env["OPERATOR_KEY"], "http://"+m.api+path)
		if err != nil || code != http.StatusOK {
			t.Fatalf("%s: %d %v", path, code, err)
		}
		operators += string(body)
	}
	m.kill()
	m.keep()
	return operators
}

// nothingLeaks looks for what was asked and stored in the record, the log, and
// all that was printed.
func (m *matchRun) nothingLeaks(t *testing.T, operators string) {
	t.Helper()
	written := map[string]string{"what was printed": m.printed.String()}
	for _, root := range []string{filepath.Join(m.work, "data", "audit"), filepath.Join(m.work, "tributary.log")} {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			written[path] = string(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(written) < 4 || len(written["what was printed"]) < 1000 || len(operators) < 1000 {
		t.Fatalf("only %d texts to look at", len(written))
	}
	facts := wordsOf(m.facts(true))
	for name, text := range written {
		m.isFree(t, name, text, facts)
	}
	m.isFree(t, "what operators are told", operators, wordsOf(m.facts(false)))
}

var tokenForm = regexp.MustCompile(`\b[0-9a-f]{32}\b`)

// isFree wants a text to hold none of the facts, and no token that was sent.
func (m *matchRun) isFree(t *testing.T, name, text string, facts *regexp.Regexp) {
	t.Helper()
	if at := facts.FindStringIndex(text); at != nil {
		t.Errorf("%s: a fact of a person in %q", name, around(text, at))
	}
	for _, at := range tokenForm.FindAllStringIndex(text, -1) {
		if m.sent[text[at[0]:at[1]]] {
			t.Errorf("%s: a token in %q", name, around(text, at))
			return
		}
	}
}

func around(text string, at []int) string { return text[max(0, at[0]-60):min(len(text), at[1]+60)] }

// wordsOf finds any of the words, standing alone.
func wordsOf(words []string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)(?:^|[^a-z0-9])(?:` + strings.Join(words, "|") + `)(?:$|[^a-z0-9])`)
}

var noDigit = regexp.MustCompile(`\D`)

// facts are the words to look for: keys, names, dates and numbers, as they stand
// at the source, were sent, or are normalised. The ends of social security numbers
// are left out where any number may stand.
func (m *matchRun) facts(ends bool) []string {
	digits := func(s string) string { return noDigit.ReplaceAllString(s, "") }
	letters := func(s string) string { return strings.TrimRight(s, "0123456789") }
	found := map[string]bool{}
	for _, p := range append(m.said, m.people...) {
		facts := []string{p.given, letters(p.given), p.family, letters(p.family), p.birth, digits(p.birth),
			p.address, p.phone, digits(p.phone), p.member, p.ssn, digits(p.ssn)}
		if n := digits(p.ssn); n != "" {
			facts = append(facts, n[len(n)-4:])
		}
		if p.zip != "00000" {
			facts = append(facts, p.zip)
		}
		if len(p.key) == 36 {
			facts = append(facts, p.key)
		}
		for _, s := range facts {
			if len(s) > 2 && (ends || len(s) != 4 || strings.Trim(s, "0123456789") != "") {
				found[regexp.QuoteMeta(s)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
