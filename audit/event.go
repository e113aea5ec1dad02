package audit

import (
	"errors"
	"fmt"
	"time"
)

// Event is what happened once: a client asked or was sent something.
type Event struct {
	Time       time.Time // kept to the microsecond, in UTC, as given even if the clock went back
	Kind       string    // one of Kinds
	Client     string    // id; empty only if Outcome is refused
	Policy     string    // access.Policy.ID, hex
	Outcome    string    // ok, refused, failed
	Reason     string    // for operators: a fixed word
	Request    string    // "GET Patient/[id]/$everything _count,_type": path pattern and names of parameters, never a value
	Commit     uint64
	Generation string
	Subjects   []Subject

	// Folds says that the event disclosed nothing and that nothing was looked up for
	// it: a refusal. Of many alike in a short time, one entry may tell; see Append.
	// It is not written.
	Folds bool

	// Count and First are for an entry that stands for many alike: how many, and the
	// time of the first of them. Time is then that of the last. Append sets them.
	Count uint64
	First time.Time
}

// Subject is one member's part in an event.
type Subject struct {
	Patient   string   // logical id; empty for data that all members share
	Resources []string // "Type/id/_history/3", or "Type/id"
}

// The words of Event.Outcome.
const (
	OK      = "ok"
	Refused = "refused"
	Failed  = "failed"
)

// The words of Event.Kind that others ask for.
const (
	Match    = "match"
	Delivery = "delivery"
)

// Kinds are the words that Event.Kind may be, in the order of documents.
func Kinds() []string {
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = k.word
	}
	return words
}

// Limits of one event. One that is longer than an entry is written as several.
const (
	maxRequest   = 64 << 10
	maxResources = 1 << 20
)

// ErrRefused says that an event holds something that has no place in the record.
// The error names the field and never the value.
var ErrRefused = errors.New("not a recordable event")

func refuse(field, want string) error {
	return &Error{Op: "append", Err: fmt.Errorf("%w: %s is not %s", ErrRefused, field, want)}
}

// check holds an event against A4.
func (e *Event) check(id func(string) bool) error {
	switch {
	case e.Time.Year() < 1 || e.Time.Year() > 9999 || e.Time.IsZero():
		return refuse("Time", "a time")
	case kindOf(e.Kind) == nil:
		return refuse("Kind", "one of the fixed words")
	case e.Outcome != OK && e.Outcome != Refused && e.Outcome != Failed:
		return refuse("Outcome", "ok, refused or failed")
	case !(e.Client == "" && e.Outcome == Refused) && !isName(e.Client):
		return refuse("Client", "a client's id")
	case !isHex(e.Policy):
		return refuse("Policy", "hex")
	case !isWord(e.Reason):
		return refuse("Reason", "a fixed word of lower-case letters and hyphens")
	case !isRequest(e.Request, e.Kind == Delivery):
		return refuse("Request", "a method, a path pattern and names of parameters")
	case e.Generation != "" && !isName(e.Generation):
		return refuse("Generation", "a store's generation")
	case (e.Folds || e.Count > 0) && (e.Outcome == OK || len(e.Subjects) > 0):
		return refuse("Outcome", "of a refusal that is about nobody")
	case (e.Count > 0) == e.First.IsZero() || e.First.Year() < 1 || e.First.Year() > 9999:
		return refuse("First", "a time beside a count")
	}
	n := 0
	for i := range e.Subjects {
		s := &e.Subjects[i]
		if s.Patient != "" && !(isID(s.Patient) && id(s.Patient)) {
			return refuse("Patient of a subject", "a resource id")
		}
		for _, r := range s.Resources {
			if !isVersion(r, id) {
				return refuse("a resource of a subject", "Type/id/_history/number")
			}
		}
		n += 1 + len(s.Resources)
	}
	if n > maxResources {
		return refuse("Subjects", fmt.Sprintf("at most %d subjects and resources", maxResources))
	}
	return nil
}
