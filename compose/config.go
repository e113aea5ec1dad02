package compose

import (
	"errors"
	"os"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose/mapping"
)

// Config is what a Worker needs. Set, Feed, Store and Sources are required; the
// zero value of everything else is replaced by its default.
type Config struct {
	// Set is the loaded mappings, checked against the sources' schemas.
	Set *mapping.Set

	// Feed MUST have been opened at the offsets of Store.Frontier().
	Feed    Feed
	Store   Store
	Sources []string

	// Partitions is how many partitions the landing topics have (4), and
	// ChangePartitions how many the change topic has (4).
	Partitions       int32
	ChangePartitions int32

	// MemoryBudget bounds the rows of unfinished transactions kept in memory, in
	// bytes (64 MiB); more go to a file in SpillDir (the system's temporary
	// folder).
	MemoryBudget int
	SpillDir     string

	// Resnapshot names the sources of which a new snapshot is on its way: what the
	// log cannot tell of them is no reason to stop.
	Resnapshot []string

	// CacheBytes bounds the decoded rows of members that changed last, kept for
	// their next change (256 MiB).
	CacheBytes int

	// GroupTxs, GroupBytes and GroupTime bound what is committed at once (512
	// transactions, 16 MiB, what is composed in 20 ms), PieceVersions what is
	// written at once (2,000 versions).
	GroupTxs      int
	GroupBytes    int
	GroupTime     time.Duration
	PieceVersions int

	// PreparedBytes bounds the versions that are composed and not yet written, in
	// bytes (8 MiB); those of one member may exceed it.
	PreparedBytes int

	// Readers is how many of a wave's transactions are read and composed side by
	// side (sixteen a processor): what no cache has mostly waits for the disk.
	Readers int

	// RetryEvery is how often parked roots are composed again (1 minute).
	RetryEvery time.Duration

	// Tokens makes the match tokens of a resource from its content, which has no
	// version and no time; nil: there is no match index. It is called from several
	// goroutines, MUST always say the same of the same content, and is asked only
	// about members' resources of the TokenTypes. TokensID names what it is made
	// of: keys, clients, rules. Under another TokensID all tokens are made again.
	Tokens     func(resourceType string, content []byte) []commit.Token
	TokensID   string
	TokenTypes []string

	Hooks Hooks

	plan *plan // instead of Set's, in tests
}

// Hooks tell an observer what happens; any may be nil. They are called from the
// worker's goroutine after the commit they tell of (Composing: meanwhile), MUST
// return quickly and carry no state that the worker depends on.
type Hooks struct {
	// Applied: a group was committed with so many rows and versions of the
	// source; without a source, of a composition of everything or a retry.
	Applied func(at change.Freshness, rows, versions int)
	// Snapshot: so many rows of the table are in row state.
	Snapshot func(table change.Table, rows int64)
	// Composing: of all members, how many the first (or a full) composition has
	// done.
	Composing func(done, total int)
	// Parked: a root could not be composed, or (cleared) is composed again. Root
	// is a key of the source's and not for logs; reason has no values.
	Parked func(root, reason string, cleared bool)
}

func (c *Config) defaults() {
	setDefault(&c.Partitions, 4)
	setDefault(&c.ChangePartitions, 4)
	setDefault(&c.MemoryBudget, 64<<20)
	setDefault(&c.CacheBytes, 256<<20)
	setDefault(&c.GroupTxs, 512)
	setDefault(&c.GroupBytes, 16<<20)
	setDefault(&c.GroupTime, 20*time.Millisecond)
	setDefault(&c.PieceVersions, 2000)
	setDefault(&c.PreparedBytes, 8<<20)
	setDefault(&c.Readers, 16*workers())
	setDefault(&c.RetryEvery, time.Minute)
	if c.SpillDir == "" {
		c.SpillDir = os.TempDir()
	}
}

func setDefault[T int | int32 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Validate reports what is missing or cannot be.
func (c *Config) Validate() error {
	var errs []error
	if c.Set == nil && c.plan == nil {
		errs = append(errs, errors.New("compose: config: Set is missing"))
	}
	if c.Feed == nil || c.Store == nil {
		errs = append(errs, errors.New("compose: config: Feed or Store is missing"))
	}
	if len(c.Sources) == 0 {
		errs = append(errs, errors.New("compose: config: no sources"))
	}
	if c.Partitions < 0 || c.ChangePartitions < 0 || c.MemoryBudget < 0 || c.GroupTxs < 0 || c.GroupBytes < 0 || c.PieceVersions < 0 || c.PreparedBytes < 0 || c.Readers < 0 {
		errs = append(errs, errors.New("compose: config: a limit is negative"))
	}
	if with := c.Tokens != nil; with != (c.TokensID != "") || with != (len(c.TokenTypes) > 0) {
		errs = append(errs, errors.New("compose: config: Tokens, TokensID and TokenTypes go together: set all of them or none"))
	}
	return errors.Join(errs...)
}
