package audit

import (
	"errors"
	"fmt"
	"strings"
)

// Error is what this package's operations fail with. File is set where one is
// concerned. It never holds a value of an event.
type Error struct {
	Op   string
	File string
	Err  error
	Hint string
}

// Error prints operation, file, cause and hint in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("audit: " + e.Op)
	if e.File != "" {
		b.WriteString(" " + e.File)
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

var (
	// ErrInUse says that another process writes the log.
	ErrInUse = errors.New("in use by another process")
	// ErrStopped says that the log takes no entry any more; the cause is with it.
	ErrStopped = errors.New("the log has stopped")
	// ErrDamaged says that the log is not what was acknowledged.
	ErrDamaged = errors.New("the log is damaged")
)
