package projection

import (
	"errors"
	"time"

	"github.com/tributary-health/tributary/commit"
)

// Hooks tell an observer what happens; any may be nil. They MUST return quickly
// and carry no state that the projection depends on. What they say is for
// operators: it counts hidden commits too.
type Hooks struct {
	// Applied: everything up to the base store's commit number is in the client's
	// store; so many versions were added.
	Applied func(base commit.Number, versions int)
}

// Config says what is projected where. Zero numbers mean the defaults.
type Config struct {
	Base   Base
	Store  Store
	Policy Policy
	Client string // for errors

	// Partitions is the number of partitions of the client's change topic; 4.
	Partitions int32

	// Build counts the client's stores, from 0. Versions of a build begin above
	// those of the one before, so that no ETag means two contents. The store
	// MUST begin its versions at FirstVersion(Build) (pebble.Options.FirstVersion).
	Build uint32

	GroupUnits  int           // most commits written at once; 512
	GroupBytes  int           // about the most bytes kept in memory, and written at once; 4 MiB
	GroupTime   time.Duration // least time between two commits while changes come; 20 ms
	SkipEntries int           // most hidden entries between two records of the place; 10,000

	// Now is the clock that freshness is cut by; time.Now.
	Now func() time.Time

	Hooks Hooks

	began time.Time // Identity.Began
}

// buildBits is how many versions of one resource a build has room for.
const buildBits = 24

// FirstVersion is the number of a resource's first version in the build.
func FirstVersion(build uint32) uint64 { return uint64(build)<<buildBits + 1 }

func (c Config) withDefaults() Config {
	setDefault(&c.Partitions, 4)
	setDefault(&c.GroupUnits, 512)
	setDefault(&c.GroupBytes, 4<<20)
	setDefault(&c.GroupTime, 20*time.Millisecond)
	setDefault(&c.SkipEntries, 10_000)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func setDefault[T int | int32 | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

func (c *Config) validate() error {
	if c.Base == nil || c.Store == nil || c.Policy == nil {
		return errors.New("config: Base, Store or Policy is missing")
	}
	return nil
}
