package kafka

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tributary-health/tributary/change"
)

const (
	// DefaultPartitions is the partition count of topics that state none.
	DefaultPartitions = 4

	// MaxRecordBytes bounds one record's key and value in a topic as EnsureTopics
	// makes it; the topic's max.message.bytes decides. A row that is larger is
	// refused, by table.
	MaxRecordBytes = maxBatchBytes - batchOverhead

	batchOverhead   = 4 << 10
	maxBatchBytes   = 8 << 20   // a topic's max.message.bytes, and the producer's batch
	maxRequestBytes = 128 << 20 // the largest request the embedded broker reads
)

// TopicPartition names one partition of a topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// LandingTopic is the topic of a table's change events.
func LandingTopic(t change.Table) string { return "cdc." + t.Source + "." + t.Name }

// TxTopic is the topic of a source's transaction ends and watermarks.
func TxTopic(source string) string { return "cdc." + source + ".tx" }

// IsTxTopic reports whether the topic is some source's tx topic. A source's name
// has no dot; a table called tx is refused, so no landing topic has this form.
func IsTxTopic(topic string) bool {
	source, ok := strings.CutPrefix(topic, "cdc.")
	if !ok {
		return false
	}
	source, ok = strings.CutSuffix(source, ".tx")
	return ok && source != "" && !strings.Contains(source, ".")
}

// TopicSpec is a topic as it must be. Partitions 0 is DefaultPartitions.
// Retention 0 keeps everything, which is what the embedded broker insists on.
// Replication 0 leaves the number of copies to the broker; MinInSync 0 leaves it
// to the broker how many of them must have a record before it is acknowledged.
type TopicSpec struct {
	Name        string
	Partitions  int32
	Retention   time.Duration
	Replication int16
	MinInSync   int16
}

func (s TopicSpec) partitions() int32 {
	if s.Partitions == 0 {
		return DefaultPartitions
	}
	return s.Partitions
}

func (s TopicSpec) configs() map[string]*string {
	retention := "-1"
	if s.Retention > 0 {
		retention = strconv.FormatInt(s.Retention.Milliseconds(), 10)
	}
	configs := map[string]*string{
		"cleanup.policy":    kadm.StringPtr("delete"),
		"retention.ms":      kadm.StringPtr(retention),
		"retention.bytes":   kadm.StringPtr("-1"),
		"max.message.bytes": kadm.StringPtr(strconv.Itoa(maxBatchBytes)),
	}
	if s.MinInSync > 0 {
		configs["min.insync.replicas"] = kadm.StringPtr(strconv.Itoa(int(s.MinInSync)))
	}
	return configs
}

// SourceTopics returns the specs of a source's topics: its tx topic and one per
// table.
func SourceTopics(source string, tables []change.Table, partitions int32) []TopicSpec {
	specs := []TopicSpec{{Name: TxTopic(source), Partitions: partitions}}
	for _, t := range tables {
		specs = append(specs, TopicSpec{Name: LandingTopic(t), Partitions: partitions})
	}
	return specs
}

// EnsureTopics creates the topics that do not exist and holds those that do
// against their specs: the number of partitions, because keys would move to
// others; what would remove records, or let an acknowledged one be lost; copies.
// It changes no setting of a topic that exists. All problems are reported at
// once, each with the command that mends it.
func EnsureTopics(ctx context.Context, conn Connection, specs []TopicSpec) error {
	return conn.with(func(client *kgo.Client) error { return ensureTopics(ctx, client, specs) })
}

func ensureTopics(ctx context.Context, client *kgo.Client, specs []TopicSpec) error {
	const op = "create topics"
	admin := kadm.NewClient(client)
	var problems []error
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
		if err := checkTopicName(s.Name); err != nil {
			problems = append(problems, failTopic(op, s.Name, -1, err))
		}
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	// Only what is missing: who may not create topics may use those that are there.
	have, err := admin.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return fail(op, err)
	}
	made := 0
	for _, s := range specs {
		if t, ok := have[s.Name]; ok && !errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
			continue
		}
		made++
		err := patiently(ctx, settling, func() error {
			resp, err := admin.CreateTopic(ctx, s.partitions(), s.replication(), s.configs(), s.Name)
			return errors.Join(err, resp.Err)
		})
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			problems = append(problems, &Error{Op: op, Topic: s.Name, Partition: -1, Err: err, Hint: createHint(err)})
		}
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	if err := checkPartitions(ctx, admin, op, settling, specs); err != nil {
		return err
	}
	if made > 0 { // until each leader knows that it is one
		if _, err := listRanges(ctx, client, settling, names...); err != nil {
			return err
		}
	}
	return checkSettings(ctx, admin, specs)
}

func (s TopicSpec) replication() int16 {
	if s.Replication == 0 {
		return -1
	}
	return s.Replication
}

func createHint(err error) string {
	switch {
	case errors.Is(err, kerr.InvalidTopicException):
		return "a topic whose name differs only in . and _ may exist"
	case errors.Is(err, kerr.PolicyViolation):
		return "the broker has a policy for topics; the embedded one keeps everything: leave the retention at 0"
	case errors.Is(err, kerr.InvalidReplicationFactor):
		return "fewer brokers are up than copies are asked for"
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return "allow this user to create topics, or create it for him: docs/kafka.md lists what each needs"
	}
	return ""
}

// checkPartitions compares the partition counts of existing topics.
func checkPartitions(ctx context.Context, admin *kadm.Client, op string, fresh time.Duration, specs []TopicSpec) error {
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	return patiently(ctx, fresh, func() error {
		topics, err := admin.ListTopicsWithInternal(ctx, names...)
		if err != nil {
			return fail(op, err)
		}
		var problems []error
		for _, s := range specs {
			switch t, ok := topics[s.Name]; {
			case !ok:
				problems = append(problems, failTopic(op, s.Name, -1, kerr.UnknownTopicOrPartition))
			case t.Err != nil:
				problems = append(problems, failTopic(op, s.Name, -1, t.Err))
			case int32(len(t.Partitions)) != s.partitions():
				problems = append(problems, &Error{Op: op, Topic: s.Name, Partition: -1,
					Err:  fmt.Errorf("has %d partitions, configured are %d", len(t.Partitions), s.partitions()),
					Hint: "set the number the topic has; a topic's partition count cannot change while its records matter"})
			case s.Replication > 0 && t.Partitions.NumReplicas() < int(s.Replication):
				problems = append(problems, &Error{Op: op, Topic: s.Name, Partition: -1,
					Err:  fmt.Errorf("has %d copies, configured are %d", t.Partitions.NumReplicas(), s.Replication),
					Hint: "add copies with kafka-reassign-partitions, or set the number the topic has"})
			}
		}
		return errors.Join(problems...)
	})
}

func checkTopicName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > 249 {
		return errors.New("the name is empty, dots only, or longer than 249 characters")
	}
	for _, r := range name {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			continue
		}
		return fmt.Errorf("the name holds %q; Kafka allows letters, digits, dot, underscore and dash", r)
	}
	return nil
}

// checkTable refuses a table whose landing topic could not be told from another.
func checkTable(source string, t change.Table) error {
	if t.Source != source {
		return fmt.Errorf("table %s is not of source %s", t, source)
	}
	if t.Name == "tx" {
		return fmt.Errorf("table %s: its topic would be the source's tx topic", t)
	}
	return checkTopicName(LandingTopic(t))
}

// Range is what a partition holds: offsets from Start up to, not including, End.
type Range struct{ Start, End int64 }

// Ranges returns what every partition of the topics holds now, up to the last
// record that is decided (on a real Kafka, behind no open transaction). A topic
// that does not exist is an error.
func Ranges(ctx context.Context, conn Connection, topics ...string) (map[TopicPartition]Range, error) {
	var ranges map[TopicPartition]Range
	err := conn.with(func(client *kgo.Client) (err error) {
		ranges, err = listRanges(ctx, client, opening, topics...)
		return err
	})
	return ranges, err
}

func listRanges(ctx context.Context, client *kgo.Client, fresh time.Duration, topics ...string) (ranges map[TopicPartition]Range, err error) {
	if len(topics) == 0 {
		return map[TopicPartition]Range{}, nil
	}
	err = patiently(ctx, fresh, func() (err error) {
		ranges, err = askRanges(ctx, client, topics)
		return err
	})
	return ranges, err
}

func askRanges(ctx context.Context, client *kgo.Client, topics []string) (map[TopicPartition]Range, error) {
	const op = "list offsets"
	led, err := leaderships(ctx, client, topics)
	if err != nil {
		return nil, err
	}
	starts, err := listOffsets(ctx, client, led, firstOffset)
	if err != nil {
		return nil, fail(op, err)
	}
	ends, err := listOffsets(ctx, client, led, committedEnd)
	if err != nil {
		return nil, fail(op, err)
	}
	ranges := make(map[TopicPartition]Range, len(led))
	var problems []error
	for tp := range led {
		if err := errors.Join(starts[tp].err, ends[tp].err); err != nil {
			problems = append(problems, failTopic(op, tp.Topic, tp.Partition, err))
			continue
		}
		ranges[tp] = Range{starts[tp].offset, ends[tp].offset}
	}
	sort.Slice(problems, func(i, j int) bool { return problems[i].Error() < problems[j].Error() })
	return ranges, errors.Join(problems...)
}
