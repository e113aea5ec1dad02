package audit

import (
	"bytes"
	"slices"
	"time"
)

// Account calls fn with every acknowledged entry that has the patient as a
// subject and a time in [from, to); a zero time is no bound. Of its subjects the
// entry holds that patient alone. The whole log is verified on the way: the
// account is complete for the entries First to Head.Number of the report if the
// report has no findings, and only then.
func Account(dir, patient string, from, to time.Time, o VerifyOptions, fn func(Entry) error) (Report, error) {
	if !isID(patient) {
		return Report{}, refuse("the patient", "a resource id")
	}
	mark := []byte(patientMark + patient + `"`)
	return read(dir, from, to, o, func(entry []byte) bool { return bytes.Contains(entry, mark) }, func(e Entry) error {
		e.Subjects = slices.DeleteFunc(e.Subjects, func(s Subject) bool { return s.Patient != patient })
		return fn(e)
	})
}

// Read calls fn with every acknowledged entry of a time in [from, to), and
// verifies the log on the way, as Account does.
func Read(dir string, from, to time.Time, o VerifyOptions, fn func(Entry) error) (Report, error) {
	return read(dir, from, to, o, func([]byte) bool { return true }, fn)
}

func read(dir string, from, to time.Time, o VerifyOptions, wanted func(entry []byte) bool, fn func(Entry) error) (Report, error) {
	first, end := "", "~"
	if !from.IsZero() {
		first = from.UTC().Format(timeLayout)
	}
	if !to.IsZero() {
		end = to.UTC().Format(timeLayout)
	}
	return verify(dir, o, func(l line) error {
		if l.time < first || l.time >= end || !wanted(l.entry) {
			return nil
		}
		e, err := decodeEntry(l.entry)
		if err != nil {
			return &Error{Op: "read", Err: err, Hint: "the entry is in the chain, and not of a form that this version knows"}
		}
		e.Hash = l.hash
		return fn(e)
	})
}
