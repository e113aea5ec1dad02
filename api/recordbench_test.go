package api_test

import (
	"context"
	"testing"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/audit"
)

// BenchmarkRecord is BenchmarkRead with a record that costs nothing: what is
// measured is making the event.
func BenchmarkRecord(b *testing.B) {
	store := benchResource()
	c := testConfig(store)
	c.Store, c.Views = nil, func(access.Caller) (api.Store, error) { return store, nil }
	c.Audit = func(context.Context, audit.Event) error { return nil }
	b.Run("handler", func(b *testing.B) { benchInProcess(b, api.New(c)) })
	log, err := audit.Open(b.TempDir(), audit.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			b.Error(err)
		}
	}()
	c.Audit = log.Append
	b.Run("durable", func(b *testing.B) { benchInProcess(b, api.New(c)) })
	b.Run("socket", func(b *testing.B) { benchSocket(b, api.New(c)) })
}
