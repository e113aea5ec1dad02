package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/tributary-health/tributary/access"
)

// clientStatus is a client as operators see it: what it reads, how far that has
// come, and what is left of its quota.
type clientStatus struct {
	ID       string `json:"id"`
	Policy   string `json:"policy"`
	OwnStore bool   `json:"own_store"`
	Build    uint32 `json:"build,omitempty"`
	Base     uint64 `json:"base_commit,omitempty"` // what this commit shows is in the client's store
	Ready    bool   `json:"ready"`
	Problem  string `json:"problem,omitempty"`
	Topic    string `json:"topic,omitempty"`
	Unsent   string `json:"topic_problem,omitempty"` // why the topic gets nothing more

	Match *matchStatus `json:"match,omitempty"`
}

type matchStatus struct {
	Used        int       `json:"used_today"`
	PerDay      int       `json:"per_day"`
	Hits        int       `json:"hits"`
	Misses      int       `json:"misses"`
	MissesLeft  int       `json:"misses_left"` // so many more, without a hit, lock the client out
	LockedUntil time.Time `json:"locked_until,omitzero"`
}

func (p *pipeline) clientStatuses() []clientStatus {
	quotas := p.match.Quotas()
	all := []clientStatus{}
	for _, c := range p.cfg.clients {
		s := clientStatus{ID: c.ID, Policy: c.Policy.ID(), Ready: true}
		if own := p.ownOf(c.ID); own != nil {
			at := own.projection.Status()
			s.OwnStore, s.Build, s.Base, s.Ready = true, own.build, uint64(at.Base), own.ready()
			if at.Err != nil {
				s.Problem = at.Err.Error()
			}
			if own.topic != nil {
				s.Topic = own.topicName
			}
			if why := own.unsent.Load(); why != nil {
				s.Unsent = *why
			}
		}
		if q, ok := quotas[c.ID]; ok {
			s.Match = &matchStatus{q.Used, q.PerDay, q.Hits, q.Misses, missesLeft(q, c.Match.Quota), q.LockedUntil}
		}
		all = append(all, s)
	}
	return all
}

// missesLeft is how many misses in a row from now lock the client out.
func missesLeft(q access.QuotaState, terms access.QuotaTerms) int {
	return max(terms.Misses, q.Hits*terms.MissesPerHit+1) - q.Misses
}

func (s clientStatus) line() string {
	parts := []string{"sees everything"}
	if s.OwnStore {
		parts = []string{fmt.Sprintf("store of its own, build %d, at base commit %d", s.Build, s.Base)}
	}
	if s.Topic != "" {
		parts = append(parts, "topic "+s.Topic)
	}
	if m := s.Match; m != nil {
		parts = append(parts, fmt.Sprintf("matches: %d of %d in 24 h, %d found, %d missed", m.Used, m.PerDay, m.Hits, m.Misses))
		if !m.LockedUntil.After(time.Now()) {
			parts = append(parts, fmt.Sprintf("%d more misses in a row lock it out", m.MissesLeft))
		}
		if m.LockedUntil.After(time.Now()) {
			parts = append(parts, "LOCKED OUT until "+m.LockedUntil.UTC().Format(time.RFC3339))
		}
	}
	switch {
	case s.Problem != "":
		parts = append(parts, "NOT SERVED: "+s.Problem)
	case !s.Ready:
		parts = append(parts, "not ready")
	}
	if s.Unsent != "" {
		parts = append(parts, "NOTHING IS SENT TO ITS TOPIC: "+s.Unsent)
	}
	return fmt.Sprintf("%-16s %s", s.ID, strings.Join(parts, "; "))
}
