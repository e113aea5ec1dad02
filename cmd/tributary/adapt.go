package main

import (
	"context"
	"net/http"
	"strings"

	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose"
	"github.com/tributary-health/tributary/kafka"
	"github.com/tributary-health/tributary/publish"
	"github.com/tributary-health/tributary/store/pebble"
)

// Stages know only their own ports; here their types meet.

// sourceLog makes a kafka.Writer a capture.Log. It notes when a snapshot has
// ended in it.
type sourceLog struct {
	*kafka.Writer
	snapshotted bool
}

func (l *sourceLog) Resume() capture.Resume { return capture.Resume(l.Writer.Resume()) }

// Durable trails what is acknowledged by a record: what is confirmed to the
// source must be known to whoever opens the log after a crash.
func (l *sourceLog) Durable() change.Mark { return l.Recorded() }

// SnapshotEnd notes a success: the snapshot is in the log for good.
func (l *sourceLog) SnapshotEnd(ctx context.Context, rec change.TxRecord, tables []change.Table) error {
	err := l.Writer.SnapshotEnd(ctx, rec, tables)
	l.snapshotted = l.snapshotted || err == nil
	return err
}

var _ capture.Log = (*sourceLog)(nil)

// feed makes a kafka.Reader a compose.Feed.
type feed struct{ *kafka.Reader }

func (f feed) Poll(ctx context.Context) ([]compose.Record, error) {
	polled, err := f.Reader.Poll(ctx)
	records := make([]compose.Record, len(polled))
	for i, r := range polled {
		records[i] = compose.Record{
			From: commit.TopicPartition{Topic: r.Topic, Partition: r.Partition},
			Next: r.Next, Event: r.Event, Tx: r.Tx, Bytes: r.Bytes,
		}
	}
	return records, err
}

// changeTopic makes a kafka.ChangeTopic a publish.Topic.
type changeTopic struct{ *kafka.ChangeTopic }

func (t changeTopic) Append(ctx context.Context, partition int32, records []publish.Record) error {
	out := make([]kafka.ChangeRecord, len(records))
	for i, r := range records {
		out[i] = changeRecord(r)
	}
	return t.ChangeTopic.Append(ctx, partition, out)
}

func changeRecord(r publish.Record) kafka.ChangeRecord {
	headers := make([]kafka.Header, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = kafka.Header(h)
	}
	return kafka.ChangeRecord{Key: r.Key, Value: r.Value, Headers: headers}
}

// views makes a pebble.DB an api.Store.
type views struct{ *pebble.DB }

func (v views) At(number uint64) (api.View, error) {
	view, err := v.DB.At(number)
	if err != nil {
		return nil, err
	}
	return view, nil
}

// muxFirst serves the given paths itself, one that ends in a slash with all below
// it, and leaves all others to next as they came. (http.ServeMux would answer an
// unclean path with a redirection in HTML.)
func muxFirst(paths map[string]http.Handler, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, ok := paths[r.URL.Path]
		if !ok {
			h = next
			for path, below := range paths {
				if strings.HasSuffix(path, "/") && strings.HasPrefix(r.URL.Path, path) {
					h = below
				}
			}
		}
		h.ServeHTTP(w, r)
	})
}
