package kafka

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A broker that is cut off from the others goes on taking itself for the leader of
// what it led. It tells so whoever asks, and gives an end of the log that the
// others have long gone on from: who believes it writes again what is there, or
// takes the log to have lost records. Each change of leader has a larger number,
// the epoch. So all who hold copies of a partition are asked who leads it, the
// newest answer holds, and that leader is asked under its epoch, which one that
// is older refuses.

// leadership is who leads a partition, -1 for nobody, and since which epoch.
type leadership struct {
	broker int32
	epoch  int32
}

// newer reports whether l is to be believed rather than have.
func (l leadership) newer(have leadership) bool {
	return l.epoch > have.epoch || l.epoch == have.epoch && have.broker < 0
}

// holderWait is how long a broker that holds a copy may take to say who leads.
const holderWait = 2 * time.Second

// leaderships finds the leaders of all partitions of the topics. A topic that no
// broker knows is an error; a holder of copies that does not answer is not.
func leaderships(ctx context.Context, client *kgo.Client, topics []string) (map[TopicPartition]leadership, error) {
	const op = "find the leaders"
	found := &leaders{newest: make(map[TopicPartition]leadership), known: make(map[string]bool),
		failed: make(map[string]error), holders: make(map[int32]bool)}
	resp, err := askLeaders(topics).RequestWith(ctx, client)
	if err != nil {
		return nil, fail(op, err)
	}
	found.take(resp)
	if len(found.holders) > 1 { // one alone cannot differ from itself
		found.askHolders(ctx, client, topics)
	}
	for _, topic := range topics {
		if !found.known[topic] {
			err := found.failed[topic]
			if err == nil {
				err = kerr.UnknownTopicOrPartition
			}
			return nil, failTopic(op, topic, -1, err)
		}
	}
	return found.newest, nil
}

func askLeaders(topics []string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	for _, topic := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(topic)
		req.Topics = append(req.Topics, t)
	}
	return req
}

// leaders collects what brokers say of who leads.
type leaders struct {
	mu      sync.Mutex
	newest  map[TopicPartition]leadership
	known   map[string]bool
	failed  map[string]error // by topic
	holders map[int32]bool
}

func (l *leaders) take(resp *kmsg.MetadataResponse) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range resp.Topics {
		if t.Topic == nil {
			continue
		}
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			l.failed[*t.Topic] = err
			continue
		}
		l.known[*t.Topic] = true
		for _, p := range t.Partitions {
			tp, said := TopicPartition{*t.Topic, p.Partition}, leadership{p.Leader, p.LeaderEpoch}
			if have, ok := l.newest[tp]; !ok || said.newer(have) {
				l.newest[tp] = said
			}
			for _, id := range p.Replicas {
				l.holders[id] = true
			}
		}
	}
}

func (l *leaders) askHolders(ctx context.Context, client *kgo.Client, topics []string) {
	ctx, cancel := context.WithTimeout(ctx, holderWait)
	defer cancel()
	var holders []int
	for id := range l.holders {
		holders = append(holders, int(id))
	}
	var asking sync.WaitGroup
	for _, id := range holders {
		asking.Go(func() {
			resp, err := client.Broker(id).Request(ctx, askLeaders(topics))
			if said, ok := resp.(*kmsg.MetadataResponse); err == nil && ok {
				l.take(said)
			}
		})
	}
	asking.Wait()
}

// bound is an offset that leaders are asked for.
type bound struct {
	timestamp int64
	isolation int8
}

// The bounds of a partition: its first offset; the end of what is decided; the
// end of all that its copies hold.
var (
	firstOffset  = bound{-2, 0}
	committedEnd = bound{-1, 1}
	writtenEnd   = bound{-1, 0}
)

// listed is a leader's answer.
type listed struct {
	offset int64
	err    error
}

// listOffsets asks each leader, under its epoch, for a bound of what it leads.
// Every partition has an answer.
func listOffsets(ctx context.Context, client *kgo.Client, led map[TopicPartition]leadership, b bound) (map[TopicPartition]listed, error) {
	answers := make(map[TopicPartition]listed, len(led))
	requests := make(map[int32]map[string][]kmsg.ListOffsetsRequestTopicPartition)
	for tp, l := range led {
		if l.broker < 0 {
			answers[tp] = listed{err: kerr.LeaderNotAvailable}
			continue
		}
		answers[tp] = listed{err: kerr.UnknownTopicOrPartition} // until there is another
		if requests[l.broker] == nil {
			requests[l.broker] = make(map[string][]kmsg.ListOffsetsRequestTopicPartition)
		}
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.CurrentLeaderEpoch, p.Timestamp = tp.Partition, l.epoch, b.timestamp
		requests[l.broker][tp.Topic] = append(requests[l.broker][tp.Topic], p)
	}
	for broker, parts := range requests {
		req := kmsg.NewPtrListOffsetsRequest()
		req.IsolationLevel = b.isolation
		for topic, partitions := range parts {
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic, t.Partitions = topic, partitions
			req.Topics = append(req.Topics, t)
		}
		resp, err := client.Broker(int(broker)).Request(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, t := range resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				answers[TopicPartition{t.Topic, p.Partition}] = listed{p.Offset, kerr.ErrorForCode(p.ErrorCode)}
			}
		}
	}
	return answers, nil
}
