package api_test

import (
	"testing"

	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/audit"
)

// BenchmarkRecord is BenchmarkRead with a durable record.
func BenchmarkRecord(b *testing.B) {
	store := benchResource()
	c := testConfig(store)
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
	b.Run("handler", func(b *testing.B) { benchInProcess(b, api.New(c)) })
	b.Run("socket", func(b *testing.B) { benchSocket(b, api.New(c)) })
}
