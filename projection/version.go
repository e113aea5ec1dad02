package projection

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/fhir"
)

// project makes of a version of the base store what the policy shows of it.
//
// What is not shown, or no longer, is a deletion if the client's store has it,
// and nothing otherwise. So a resource that moves to a member whom the client
// may not know is gone, whatever the base store calls it.
func (p *Projection) project(v *commit.Version) error {
	if !p.cfg.Policy.MaySee(v.Type) {
		return nil
	}
	head, err := p.head(v)
	if err != nil {
		return err
	}
	alive := head.Number > 0 && !head.Deleted
	if v.Deleted || !p.mayKnow(v) {
		if alive {
			p.write.delete(&p.from.unit, v.ResourceID, head)
		}
		return nil
	}
	content, err := p.redact(v)
	if err != nil {
		return fmt.Errorf("redact %s, version %d of the base store: %w", v.ResourceID, v.Number, err)
	}
	d := draft{id: v.ResourceID, member: v.Member, content: content}
	sum := sha256.Sum256(content)
	copy(d.hash[:], sum[:])
	if alive && head.Hash == d.hash && head.Member == v.Member {
		return nil
	}
	if alive && head.Member != v.Member {
		// Whoever follows only the first member must hear that it is gone.
		head = p.write.delete(&p.from.unit, v.ResourceID, head)
	}
	return p.write.content(&p.from.unit, d, head)
}

// head returns the head of the resource in the client's store, which is the zero
// Head if it is not there. It cannot be there when this is the base store's first
// version of it, and the first composition is made of these.
func (p *Projection) head(v *commit.Version) (commit.Head, error) {
	if v.Number == 1 {
		return commit.Head{}, nil
	}
	return p.write.head(v.ResourceID, v.Member)
}

// mayKnow reports whether the member's record is shown. A Patient is of its own
// record, whatever it says.
func (p *Projection) mayKnow(v *commit.Version) bool {
	if v.Member == "" && v.Type == "Patient" {
		return p.cfg.Policy.MayKnow(v.ID)
	}
	return p.cfg.Policy.MayKnow(v.Member)
}

var errStamp = errors.New("it does not say its version where it should")

// redact returns what is shown of the body. The body MUST have its stamp: it
// counts changes that are hidden. What is returned is valid until the next call.
func (p *Projection) redact(v *commit.Version) (content []byte, err error) {
	defer func() {
		if recover() != nil { // a panic would print what it met
			content, err = nil, errors.New("the policy failed")
		}
	}()
	plain := fhir.Unstamp(v.Body)
	if len(plain) == len(v.Body) {
		return nil, errStamp
	}
	content, err = p.cfg.Policy.Redact(p.write.redacted[:0], v.Type, plain)
	if err != nil {
		return nil, err
	}
	p.write.redacted = content
	if len(fhir.Unstamp(content)) != len(content) {
		return nil, errStamp
	}
	return content, nil
}
