package postgres

import (
	"sync"

	"github.com/jackc/pglogrepl"
	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// confirmer decides what the server may forget. Log.Durable says what is
// acknowledged now, but a restart finds only what the log's own records say: a
// record carries the mark that was durable when it was written. So a mark is
// confirmed once a record written after it became durable is durable itself.
// Without that step a crash could find the slot ahead of the log.
type confirmer struct {
	log capture.Log

	mu        sync.Mutex
	confirmed pglogrepl.LSN
	last      change.Position // of the last record
	record    change.Position // once this is durable...
	carries   pglogrepl.LSN   // ...this may be confirmed
	armed     bool
}

// before is called before a record that states a mark is given to the Log.
func (c *confirmer) before(mark change.Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if mark.Compare(c.last) <= 0 {
		return // cannot be told from the record before
	}
	c.last = mark
	c.settle()
	if c.armed {
		return
	}
	durable := c.log.Durable()
	lsn, err := pglogrepl.ParseLSN(durable.Token)
	if err != nil || lsn <= c.confirmed {
		return
	}
	c.record, c.carries, c.armed = mark, lsn, true
}

// lsn returns what to tell the server.
func (c *confirmer) lsn() pglogrepl.LSN {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	return c.confirmed
}

func (c *confirmer) settle() {
	if c.armed && c.log.Durable().Position.Compare(c.record) >= 0 {
		c.confirmed, c.armed = max(c.confirmed, c.carries), false
	}
}
