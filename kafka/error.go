package kafka

import (
	"fmt"
	"strings"
)

// Error is what this package's operations fail with. Topic and Partition are set
// where they are known (Partition is -1 where it is not). It never holds a
// record's key or value.
type Error struct {
	Op        string
	Topic     string
	Partition int32
	Err       error
	Hint      string
}

// Error prints operation, place, cause and hint in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("kafka: " + e.Op)
	if e.Topic != "" {
		b.WriteString(": topic " + e.Topic)
		if e.Partition >= 0 {
			fmt.Fprintf(&b, ", partition %d", e.Partition)
		}
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

func fail(op string, err error) error {
	return &Error{Op: op, Partition: -1, Err: err}
}

func failTopic(op, topic string, partition int32, err error) error {
	return &Error{Op: op, Topic: topic, Partition: partition, Err: err}
}
