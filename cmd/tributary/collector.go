package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

// errCollected ends a reader whose snapshot is all there.
var errCollected = errors.New("the snapshot is read")

// collector is a capture.Log that keeps a snapshot's rows in memory and ends the
// reader there.
type collector struct {
	events []change.Event
	mark   change.Mark
	ended  bool
}

var _ capture.Log = (*collector)(nil)

func (c *collector) Resume() capture.Resume                                  { return capture.Resume{} }
func (c *collector) Start(context.Context, change.TxRecord) error            { return nil }
func (c *collector) End(context.Context, change.TxRecord) error              { return errCollected }
func (c *collector) Durable() change.Mark                                    { return change.Mark{} }
func (c *collector) Err() error                                              { return nil }
func (c *collector) Watermark(context.Context, change.Mark, time.Time) error { return errCollected }

func (c *collector) Append(_ context.Context, _ string, ev *change.Event) error {
	kept := *ev
	kept.After = slices.Clone(ev.After)
	for i := range kept.After {
		kept.After[i].Text = strings.Clone(kept.After[i].Text)
	}
	c.events = append(c.events, kept)
	return nil
}

func (c *collector) SnapshotEnd(_ context.Context, rec change.TxRecord, _ []change.Table) error {
	c.mark, c.ended = rec.Mark, true
	return errCollected
}
