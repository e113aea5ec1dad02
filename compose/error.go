package compose

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tributary-health/tributary/change"
)

// Error is what composition stops with. It names the operation, the place and
// the cause, and never a column's value.
type Error struct {
	Op       string
	Source   string
	Table    change.Table
	Position change.Position
	Err      error
	Hint     string
}

// Error prints operation, place, cause and hint in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("compose: " + e.Op)
	if e.Table != (change.Table{}) {
		fmt.Fprintf(&b, ": table %s", e.Table)
	} else if e.Source != "" {
		fmt.Fprintf(&b, ": source %s", e.Source)
	}
	if !e.Position.IsZero() {
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

// ErrContradiction is wrapped by every Error about a log that contradicts
// itself: more rows than an END counted, an END said twice with different
// counts, a chain with a link missing, a watermark that goes back.
var ErrContradiction = errors.New("the log contradicts itself")

// ErrIndex: the store's resources were indexed for search by another version of
// the program, and searches would miss some of them.
var ErrIndex = errors.New("the search entries of the store are of another version of tributary")

// contradiction is an Error about the log of a source.
func contradiction(source string, at change.Position, format string, args ...any) error {
	return &Error{
		Op: "assemble", Source: source, Position: at,
		Err:  fmt.Errorf("%w: "+format, append([]any{ErrContradiction}, args...)...),
		Hint: "the landing topics are damaged or belong to another history; take a new snapshot of the source",
	}
}
