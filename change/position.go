package change

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Position orders every Event of one source. Generation counts the source's
// histories (timeline, restore, failover) from 1. Ordinal is the commit's
// place in that history: for PostgreSQL the LSN at which the commit record
// begins (known before the rows are sent, and in the order of commits; the
// Mark's token is where it ends, to resume after); for MySQL and MariaDB the
// binlog file's number times 2^32 plus the offset of the last byte of the
// transaction's GTID event. Sequence is the row's place in its transaction,
// from 1; an END has Sequence 0 and stands for the transaction as a whole. The
// zero Position precedes every Event.
type Position struct {
	Generation uint32
	Ordinal    uint64
	Sequence   uint64
}

// IsZero reports whether p is the zero Position: nothing yet.
func (p Position) IsZero() bool { return p == Position{} }

// Compare orders positions: -1 if p precedes q, 0 if equal, +1 if it follows.
func (p Position) Compare(q Position) int {
	return cmp.Or(
		cmp.Compare(p.Generation, q.Generation),
		cmp.Compare(p.Ordinal, q.Ordinal),
		cmp.Compare(p.Sequence, q.Sequence))
}

// Transaction returns p with Sequence 0: the place of its transaction.
func (p Position) Transaction() Position {
	p.Sequence = 0
	return p
}

// String prints p as "generation.ordinal.sequence" in decimal; ParsePosition
// reads it back.
func (p Position) String() string {
	return strconv.FormatUint(uint64(p.Generation), 10) + "." +
		strconv.FormatUint(p.Ordinal, 10) + "." + strconv.FormatUint(p.Sequence, 10)
}

// ParsePosition reads what String prints, and nothing else.
func ParsePosition(s string) (Position, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return Position{}, fmt.Errorf("change: position %q: want generation.ordinal.sequence", s)
	}
	g, err1 := strconv.ParseUint(parts[0], 10, 32)
	o, err2 := strconv.ParseUint(parts[1], 10, 64)
	q, err3 := strconv.ParseUint(parts[2], 10, 64)
	if err := cmp.Or(err1, err2, err3); err != nil {
		return Position{}, fmt.Errorf("change: position %q: %w", s, err)
	}
	p := Position{uint32(g), o, q}
	if p.String() != s {
		return Position{}, fmt.Errorf("change: position %q: not in the form String prints", s)
	}
	return p, nil
}

// Incarnation numbers the runs of one source's reader, from 1; each start
// takes the next. Rows of an older incarnation without an END of that same
// incarnation never become a transaction.
type Incarnation uint64

// Mark is a Position with what the source itself needs to resume after it: an
// LSN for PostgreSQL ("16/B374D848"), a GTID set for MySQL and MariaDB. The
// token is for resuming only; it is never compared.
type Mark struct {
	Position Position
	Token    string
}
