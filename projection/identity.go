package projection

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tributary-health/tributary/fhir"
)

// ErrOther: the client's store is of another policy, base store, program or
// topic, or the base store no longer has what comes after it. It cannot be
// followed on: make a new one, with the next build number.
var ErrOther = errors.New("client's store is of another projection")

// Identity is what a client's store was made of.
type Identity struct {
	Policy     string `json:"policy"`     // Policy.ID
	Base       string `json:"base"`       // the base store's generation
	Index      string `json:"index"`      // fhir.IndexVersion
	Partitions int32  `json:"partitions"` // of the client's topic
	Build      uint32 `json:"build"`

	// Began is when a build after the first was begun: nothing in it is said to be
	// updated before, or a client that asks for what is new would not learn that it
	// is shown otherwise.
	Began time.Time `json:"began,omitzero"`
}

const noteName = "projection"

// Noted returns what the store was made of; ok is false for one that no
// projection has been started in.
func Noted(s Store) (id Identity, ok bool, err error) {
	note, err := s.Noted(noteName)
	if err != nil || note == nil {
		return id, false, err
	}
	if err := json.Unmarshal(note, &id); err != nil {
		return id, false, fmt.Errorf("read what the client's store is a projection of: %w", err)
	}
	return id, true, nil
}

// identity is what the configuration makes.
func (c *Config) identity() Identity {
	id := Identity{Policy: c.Policy.ID(), Base: c.Base.Generation(), Index: fhir.IndexVersion(), Partitions: c.Partitions, Build: c.Build}
	if c.Build > 0 {
		id.Began = c.Now().UTC().Truncate(time.Millisecond)
	}
	return id
}

// adopt notes an empty store's identity, or wants the one that it has.
func (c *Config) adopt() error {
	want := c.identity()
	got, ok, err := Noted(c.Store)
	if err != nil {
		return err
	}
	if !ok {
		if f := c.Store.Frontier(); f.Number != 0 || len(f.Offsets) != 0 {
			return fmt.Errorf("%w: it holds data, and no note of what it was made of", ErrOther)
		}
		note, err := json.Marshal(want)
		if err != nil {
			return err
		}
		c.began = want.Began
		return c.Store.Note(noteName, note)
	}
	c.began = got.Began
	switch {
	case got.Policy != want.Policy:
		return fmt.Errorf("%w: it was made under policy %s, which is now %s", ErrOther, got.Policy, want.Policy)
	case got.Base != want.Base:
		return fmt.Errorf("%w: it was made from store %s, which is now %s", ErrOther, got.Base, want.Base)
	case got.Index != want.Index:
		return fmt.Errorf("%w: its search entries are of version %s, this program's are %s", ErrOther, got.Index, want.Index)
	case got.Partitions != want.Partitions:
		return fmt.Errorf("%w: its topic has %d partitions, configured are %d", ErrOther, got.Partitions, want.Partitions)
	case got.Build != want.Build:
		return fmt.Errorf("%w: it is build %d, configured is %d", ErrOther, got.Build, want.Build)
	}
	return nil
}
