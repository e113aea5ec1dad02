package capture

import (
	"fmt"
	"strings"

	"github.com/tributary-health/tributary/change"
)

// Kind classifies an Error for whoever decides what to do about it.
type Kind string

// The kinds. Transient is retried by the reader's own loop; all others stop it.
const (
	Transient     Kind = "transient"     // connection lost, server restarting
	Configuration Kind = "configuration" // a setting at the source is wrong; Hint has the statement
	Gone          Kind = "gone"          // the log was lost between two positions: slot gone, binlog purged
	History       Kind = "history"       // the source is not the one the log came from
	Unsupported   Kind = "unsupported"   // XA, several GTID domains, statements, truncate, unknown type
	Corrupt       Kind = "corrupt"       // the stream contradicts itself
)

// Error is what a reader stops with. Source is always set; the others where they
// are known. It never holds a column's value.
type Error struct {
	Op       string
	Kind     Kind
	Source   string
	Table    string
	Column   string
	Position string
	Err      error
	Hint     string
}

// Error prints operation, place, cause and hint in one line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: source %s", e.Op, e.Source)
	if e.Table != "" {
		fmt.Fprintf(&b, ", table %s", e.Table)
	}
	if e.Column != "" {
		fmt.Fprintf(&b, ", column %s", e.Column)
	}
	if e.Position != "" {
		fmt.Fprintf(&b, ", at %s", e.Position)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, " (%s)", e.Hint)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Problem is one thing that a source's settings have wrong, as `check` lists
// them: all at once, each with the statement that mends it.
type Problem struct {
	Source string
	Table  change.Table // zero when it concerns the server
	What   string
	Hint   string
}
