package kafka

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// refusals are the requests that the broker does not act on: records while the
// disk is full or the storage failed (clients retry those), and, for good, what
// does not survive a kill here: transactions, compaction, retention, deletion of
// records.
func (b *Broker) refusals() []kfake.Fault {
	always := func(err *kerr.Error, when func(kmsg.Request) bool, keys ...kmsg.Key) kfake.Fault {
		return kfake.Fault{Keys: keys, Err: err, Count: -1, When: when}
	}
	return []kfake.Fault{
		always(kerr.KafkaStorageError, func(kmsg.Request) bool {
			return b.failed.Load() != nil || b.space.refuses()
		}, kmsg.Produce),
		always(kerr.TransactionalIDAuthorizationFailed, func(r kmsg.Request) bool {
			init, ok := r.(*kmsg.InitProducerIDRequest)
			return ok && init.TransactionalID != nil
		}, kmsg.InitProducerID),
		always(kerr.PolicyViolation, deletes, kmsg.CreateTopics, kmsg.AlterConfigs, kmsg.IncrementalAlterConfigs),
		always(kerr.PolicyViolation, nil, kmsg.DeleteRecords),
	}
}

// deletes reports whether a request asks for records to be dropped some day.
func deletes(r kmsg.Request) bool {
	switch r := r.(type) {
	case *kmsg.CreateTopicsRequest:
		for _, t := range r.Topics {
			for _, c := range t.Configs {
				if deletingConfig(c.Name, c.Value) {
					return true
				}
			}
		}
	case *kmsg.AlterConfigsRequest:
		for _, res := range r.Resources {
			for _, c := range res.Configs {
				if deletingConfig(c.Name, c.Value) {
					return true
				}
			}
		}
	case *kmsg.IncrementalAlterConfigsRequest:
		for _, res := range r.Resources {
			for _, c := range res.Configs {
				if deletingConfig(c.Name, c.Value) {
					return true
				}
			}
		}
	}
	return false
}

func deletingConfig(name string, value *string) bool {
	switch {
	case name == "cleanup.policy" || name == "log.cleanup.policy":
		return value != nil && *value != "delete"
	case strings.HasPrefix(name, "retention.") || strings.HasPrefix(name, "log.retention."):
		return value != nil && *value != "-1"
	}
	return false
}

// brokerLog hears what the storage complains of. A batch that could not be
// written makes the broker refuse all others: the storage has already counted
// it, and would answer its retry as a duplicate of a success.
type brokerLog struct{ b *Broker }

func (l brokerLog) Logf(level kfake.LogLevel, format string, args ...any) {
	if level > kfake.LogLevelWarn || level == kfake.LogLevelNone {
		return
	}
	message := fmt.Sprintf(format, args...)
	if strings.HasPrefix(format, "persist ") {
		l.b.failed.CompareAndSwap(nil, &message)
	}
	if l.b.hooks.Warning != nil {
		l.b.hooks.Warning(message)
	}
}
