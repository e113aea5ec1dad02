package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/demo"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/store/pebble"
)

// screen is what the demo prints: bars while it loads and composes, then how to
// reach everything, then one live line. Without a terminal the bars and the live
// line become a plain line every few seconds.
type screen struct {
	out      *os.File
	terminal bool
	workload bool // it runs, which the screen says
	mu       sync.Mutex
}

func newScreen(out *os.File) *screen {
	return &screen{out: out, terminal: term.IsTerminal(int(out.Fd()))}
}

// note prints a line of what is being done.
func (s *screen) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.out, line)
}

func (s *screen) bars(title string) *demo.Bars {
	s.note(title)
	return demo.NewBars(s.out)
}

// show follows the pipeline until ctx ends.
func (s *screen) show(ctx context.Context, p *pipeline, env map[string]string, work string) error {
	if !p.store.Frontier().Composed {
		s.note("taking the first snapshot")
		s.snapshotBars(ctx, p)
	}
	if err := p.awaitReady(ctx); err != nil {
		return nil // stopped before
	}
	text, err := welcome(p, env, work, s.workload)
	if err != nil {
		return err
	}
	s.note(text)
	return s.live(ctx, p)
}

// awaitReady waits until the first snapshot is composed.
func (p *pipeline) awaitReady(ctx context.Context) error {
	for !p.store.Frontier().Composed {
		select {
		case <-p.store.Changed():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *screen) snapshotBars(ctx context.Context, p *pipeline) {
	bars := demo.NewBars(s.out)
	defer bars.Finish()
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	told := false
	for {
		if p.broker != nil && p.broker.Full() && !told {
			told = true
			s.note("the disk has less room than the broker keeps in reserve: nothing is accepted until there is more")
		}
		for _, src := range p.sources {
			rows, estimate := snapshotProgress(p.observe.view(src.name).snapshots, len(src.tables))
			if estimate > 0 {
				bars.Set(src.name+" snapshot", rows, estimate)
			}
		}
		p.observe.mu.Lock()
		composing := p.observe.composing
		p.observe.mu.Unlock()
		if composing[1] > 0 {
			bars.Set("members composed", int64(composing[0]), int64(composing[1]))
		}
		if p.store.Frontier().Composed {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// snapshotProgress sums up the tables that a source's snapshot has begun. As long
// as one of its tables is still to come the sum is more than what is read, so that
// no bar ends before its job.
func snapshotProgress(begun map[string]tableProgress, tables int) (rows, total int64) {
	ended := 0
	for _, t := range begun {
		rows += t.Rows
		if t.Done {
			total += t.Rows
			ended++
		} else {
			total += max(t.Estimate, t.Rows)
		}
	}
	if len(begun) > 0 && ended < tables {
		total = max(total, rows+1)
	}
	return rows, total
}

// welcome is the short screen: addresses, three members to try, and how to
// subscribe.
func welcome(p *pipeline, env map[string]string, work string, workload bool) (string, error) {
	members, err := threeMembers(p)
	if err != nil {
		return "", err
	}
	if err := writePeople(p, work, members); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nFHIR      %s\n", env["FHIR"])
	fmt.Fprintf(&b, "broker    %s   topic %s\n", env["BROKER"], changeTopicName)
	fmt.Fprintf(&b, "settings  . %s   (addresses and keys, for a shell)\n\n", shellPath(work, demoEnvFile))
	fmt.Fprintln(&b, "Three members and their medication profiles:")
	for _, m := range members {
		fmt.Fprintf(&b, "\n  # %s\n  curl -s -H \"Authorization: Bearer %s\" \\\n    '%s/Patient/%s/$medication-profile'\n",
			m.name, env["PROVIDER_KEY"], env["FHIR"], m.id)
	}
	fmt.Fprintf(&b, "\nSubscribe to every change:\n\n  bin/tributary tail --work %s\n  kcat -b %s -C -t %s -o end -f '%%h\\n%%s\\n'\n\n",
		shellQuote(fromHere(work)), env["BROKER"], changeTopicName)
	fmt.Fprintf(&b, "A partner asks by hash; a subscriber's own topic, without addresses and numbers; who saw what:\n\n")
	fmt.Fprintf(&b, "  bin/tributary match --work %s %s\n", shellQuote(fromHere(work)), shellPath(work, demoPeopleFile))
	if own := p.ownOf("subscriber"); own != nil && own.topic != nil {
		fmt.Fprintf(&b, "  bin/tributary tail --work %s --topic %s\n", shellQuote(fromHere(work)), own.topicName)
	}
	fmt.Fprintf(&b, "  bin/tributary audit list --work %s\n\n", shellQuote(fromHere(work)))
	if workload {
		fmt.Fprintln(&b, "The workload invents changes and moves its own clock on: the record soon is")
		fmt.Fprintln(&b, "ahead of today, and makes no clinical sense. For one that stands still:")
		fmt.Fprintln(&b, "--workload=off")
	}
	fmt.Fprintln(&b, "Ctrl-C stops everything, databases included; the next start goes on from here.")
	return b.String(), nil
}

func shellPath(work, file string) string { return shellQuote(fromHere(filepath.Join(work, file))) }

// fromHere is a path as one types it in the current folder.
func fromHere(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if short, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(short) {
		return short
	}
	return path
}

type tryMember struct{ id, name string }

// threeMembers are the first three that have a name and at least three orders;
// the people are synthetic.
func threeMembers(p *pipeline) ([]tryMember, error) {
	view, err := p.store.At(0)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	var ids []tryMember
	err = scanPatients(view, func(id string, body []byte) bool {
		var patient struct {
			Name []struct {
				Family string   `json:"family"`
				Given  []string `json:"given"`
			} `json:"name"`
		}
		orders := 0
		if view.Scan("MedicationRequest", id, false, id, "", func(fhir.Version) bool { orders++; return orders < 3 }) != nil || orders < 3 {
			return true
		}
		name := "member"
		if json.Unmarshal(body, &patient) == nil && len(patient.Name) > 0 {
			name = strings.TrimSpace(strings.Join(patient.Name[0].Given, " ") + " " + patient.Name[0].Family)
		}
		ids = append(ids, tryMember{id, name})
		return len(ids) < 3
	})
	return ids, err
}

// live prints one line a second on a terminal, one in five elsewhere.
func (s *screen) live(ctx context.Context, p *pipeline) error {
	every := 5 * time.Second
	if s.terminal {
		every = time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	lastIn, lastOut := p.observe.totals()
	for {
		select {
		case <-ctx.Done():
			if s.terminal {
				fmt.Fprintln(s.out)
			}
			return nil
		case <-tick.C:
		}
		in, out := p.observe.totals()
		line := liveLine(float64(in-lastIn)/every.Seconds(), float64(out-lastOut)/every.Seconds(), p.store.Frontier(), time.Now())
		lastIn, lastOut = in, out
		if p.broker != nil && p.broker.Full() {
			line = "DISK FULL: nothing more is accepted until there is room  " + line
		}
		if s.terminal {
			fmt.Fprintf(s.out, "\r\x1b[K%s", fit(line, s.width()))
		} else {
			fmt.Fprintln(s.out, line)
		}
	}
}

// liveLine says what goes in and out a second, and how old what is served is. On
// two sources it is short enough for 80 columns.
func liveLine(in, out float64, f commit.Frontier, now time.Time) string {
	var lags []string
	for _, name := range slices.Sorted(maps.Keys(f.Sources)) {
		lags = append(lags, fmt.Sprintf("%s %.1fs", name, max(0, now.Sub(f.Sources[name].Committed).Seconds())))
	}
	return fmt.Sprintf("changes in %s/s  resources out %s/s  commit %d  lag %s", rate(in), rate(out), f.Number, strings.Join(lags, ", "))
}

// rate has a decimal where it says something.
func rate(perSecond float64) string {
	if perSecond > 0 && perSecond < 10 {
		return fmt.Sprintf("%.1f", perSecond)
	}
	return fmt.Sprintf("%.0f", perSecond)
}

// width is the terminal's now: it may be made larger or smaller meanwhile.
func (s *screen) width() int {
	w, _, err := term.GetSize(int(s.out.Fd()))
	if err != nil {
		return 0
	}
	return w
}

// fit cuts a line off that would wrap, because only its last row could be drawn
// over. A width of 0 is not known.
func fit(line string, width int) string {
	if width > 1 && len(line) >= width {
		return line[:width-1]
	}
	return line
}

// scanPatients calls fn with each member's id and resource until it returns
// false.
func scanPatients(view *pebble.View, fn func(id string, body []byte) bool) error {
	var failed error
	err := view.Scan("Patient", "", true, "", "", func(found fhir.Version) bool {
		v, ok, err := view.Read(found.ResourceID)
		if err != nil || !ok {
			failed = err
			return false
		}
		return fn(v.ID, v.Body)
	})
	return errors.Join(err, failed)
}
