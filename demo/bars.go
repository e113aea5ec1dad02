package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// Bars show how far several jobs are: one bar each on a terminal, redrawn in place, and elsewhere one plain line every few
// seconds. A job appears with its first progress and its finished bar stays above those still at work. The zero value
// with Out set writes plain lines. Methods may be called concurrently; nothing runs between the calls.
type Bars struct {
	// Out is written to; errors of it are ignored, for progress is no result.
	Out io.Writer
	// Width is the terminal's number of columns; 0 means no terminal.
	Width int
	// Every is the time between plain lines (default 3 s); on a terminal it is 100 ms.
	Every time.Duration
	// Unit is what plain lines count. Default "rows".
	Unit string
	// Now is the clock, for tests. Default time.Now.
	Now func() time.Time

	mu    sync.Mutex
	jobs  []*barJob
	last  time.Time
	drawn int    // lines of the last frame, to be drawn over
	said  string // the last plain line
}

// barJob is one line.
type barJob struct {
	name        string
	done, total int64
	begun       time.Time
	shown       bool // its finished bar is written
}

// NewBars suits a file: bars on a terminal, plain lines elsewhere.
func NewBars(out *os.File) *Bars {
	b := &Bars{Out: out}
	if term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb" {
		b.Width = 80
		if w, _, err := term.GetSize(int(out.Fd())); err == nil && w > 0 {
			b.Width = w
		}
	}
	return b
}

// Set says how much of a job is done. Its signature is that of LoadOptions.Progress.
func (b *Bars) Set(name string, done, total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	j := b.find(name, now)
	ended := total > 0 && done >= total && !(j.total > 0 && j.done >= j.total)
	j.done, j.total = done, total
	if b.Width > 0 {
		if ended || now.Sub(b.last) >= 100*time.Millisecond {
			b.draw(now)
		}
		return
	}
	every := b.Every
	if every <= 0 {
		every = 3 * time.Second
	}
	if b.last.IsZero() {
		b.last = now
	}
	if now.Sub(b.last) >= every {
		b.last = now
		b.plain()
	}
}

// Finish draws the last state; the next Set begins anew below it.
func (b *Bars) Finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.jobs) == 0 {
		return
	}
	if b.Width > 0 {
		b.draw(b.now())
	} else {
		b.plain()
	}
	b.jobs, b.drawn, b.last, b.said = nil, 0, time.Time{}, ""
}

func (b *Bars) now() time.Time {
	if b.Now != nil {
		return b.Now()
	}
	return time.Now()
}

func (b *Bars) find(name string, now time.Time) *barJob {
	for _, j := range b.jobs {
		if j.name == name {
			return j
		}
	}
	j := &barJob{name: name, begun: now}
	b.jobs = append(b.jobs, j)
	return j
}

// draw writes finished bars once, for good, and those at work below them.
func (b *Bars) draw(now time.Time) {
	b.last = now
	var out strings.Builder
	if b.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", b.drawn)
	}
	b.drawn = 0
	for _, j := range b.jobs {
		if !j.shown && j.total > 0 && j.done >= j.total {
			j.shown = true
			out.WriteString(b.bar(j) + "\x1b[K\n")
		}
	}
	for _, j := range b.jobs {
		if !j.shown && j.done > 0 {
			out.WriteString(b.bar(j) + "\x1b[K\n")
			b.drawn++
		}
	}
	if out.Len() > 0 {
		fmt.Fprint(b.Out, out.String()+"\x1b[J")
	}
}

// bar is a job's line, shorter than the terminal is wide so that it never wraps. Bars of one terminal are equally long.
func (b *Bars) bar(j *barJob) string {
	const nameWidth, figuresWidth = 20, 32
	head := fmt.Sprintf("%-*s ", nameWidth, clip(j.name, nameWidth))
	tail := fmt.Sprintf(" %3d%%", percent(j.done, j.total))
	room := min(b.Width-1-nameWidth-figuresWidth, 40)
	if room < 8 {
		return clip(head+tail, b.Width-1)
	}
	full := int(percent(j.done, j.total)) * room / 100
	return head + "[" + strings.Repeat("=", full) + strings.Repeat(" ", room-full) + "]" + tail +
		"  " + thousands(j.done) + " of " + thousands(j.total)
}

// plain writes a plain line when there is something new to say.
func (b *Bars) plain() {
	if line := b.line(); line != b.said {
		b.said = line
		fmt.Fprintln(b.Out, line)
	}
}

// line is all jobs in one plain line: what is at work, and how much is finished.
func (b *Bars) line() string {
	var done, total int64
	finished := 0
	var busy []string
	for _, j := range b.jobs {
		done, total = done+j.done, total+j.total
		switch {
		case j.done >= j.total:
			finished++
		case j.done > 0:
			busy = append(busy, fmt.Sprintf("%s %d%%", j.name, percent(j.done, j.total)))
		}
	}
	unit := b.Unit
	if unit == "" {
		unit = "rows"
	}
	text := fmt.Sprintf("%d%%: %s of %s %s, %d of %d parts done", percent(done, total), thousands(done), thousands(total), unit, finished, len(b.jobs))
	if len(busy) > 0 {
		text += "; " + strings.Join(busy, ", ")
	}
	return text
}

// percent is 100 only when all is done.
func percent(done, total int64) int64 {
	if total <= 0 || done >= total {
		return 100
	}
	return max(0, done) * 100 / total
}

// thousands writes n with commas.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// clip cuts text to n columns.
func clip(text string, n int) string {
	r := []rune(text)
	if len(r) <= n {
		return text
	}
	return string(r[:max(0, n)])
}
