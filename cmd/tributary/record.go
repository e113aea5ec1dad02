package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/tributary-health/tributary/audit"
	"github.com/tributary-health/tributary/publish"
)

// openRecord opens the record of what was disclosed. What has not the form of our
// ids is refused: a caller's word must not be written down for good.
func (p *pipeline) openRecord() (err error) {
	for _, c := range p.cfg.clients {
		if !recordable.MatchString(c.ID) {
			return fmt.Errorf("client %q: the record of disclosures cannot name it (give it an id of at most 64 letters, digits, dots, dashes and underscores)", c.ID)
		}
	}
	p.audit, err = audit.Open(p.cfg.Audit, audit.Options{ID: ourID.MatchString})
	if err != nil {
		return err
	}
	if r := p.audit.Recovered(); r.Entries > 0 || r.Cut > 0 || r.Slot {
		p.log.Warn("audit: the last run ended in the middle of writing", "entries kept", r.Entries, "bytes set aside", r.Cut, "files", r.Aside)
	}
	return nil
}

// recordable is what the record takes as a client's id.
var recordable = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// ourID is the form of resource ids: a keyed hash in base32.
var ourID = regexp.MustCompile(`^[a-z2-7]{26}$`)

// deliver puts on the record what is about to be sent to the client's topic, and
// stops the delivery if the record refuses that: it would refuse it each time.
func (p *pipeline) deliver(own *clientStore, stop context.CancelCauseFunc) func(context.Context, int32, []publish.Record) error {
	return func(ctx context.Context, partition int32, records []publish.Record) error {
		e := audit.Event{
			Time: time.Now().UTC(), Kind: audit.Delivery, Client: own.client.ID, Policy: own.client.Policy.ID(), Outcome: audit.OK,
			Request:    fmt.Sprintf("SEND %s/%d", own.topicName, partition),
			Generation: own.store.Generation(), Commit: uint64(own.store.Frontier().Number), Subjects: delivered(records),
		}
		err := p.audit.Append(ctx, e)
		if errors.Is(err, audit.ErrRefused) {
			stop(fmt.Errorf("partition %d, outbox numbers %s to %s: %w (one of these resources has not an id as this program makes them: build the store anew with `tributary replay --rebuild`)",
				partition, header(records[0], publish.HeaderOutbox), header(records[len(records)-1], publish.HeaderOutbox), err))
		}
		return err
	}
}

// delivered groups the records' resources by whose they are, in the order sent.
func delivered(records []publish.Record) []audit.Subject {
	var subjects []audit.Subject
	at := map[string]int{}
	for _, r := range records {
		resource, member := header(r, publish.HeaderResource), string(r.Key)
		if member == resource {
			member = ""
		}
		i, ok := at[member]
		if !ok {
			i = len(subjects)
			at[member] = i
			subjects = append(subjects, audit.Subject{Patient: member})
		}
		s := &subjects[i]
		s.Resources = append(s.Resources, resource+"/_history/"+header(r, publish.HeaderVersion))
	}
	return subjects
}

func header(r publish.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return h.Value
		}
	}
	return ""
}
