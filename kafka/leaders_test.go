package kafka_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tributary-health/tributary/kafka"
)

// leaveBehind gives all partitions of a topic, which node 0 led, to node 1, and has
// node 0 go on as one that is cut off from the others does: it takes itself for the
// leader, and the log for what it was.
func leaveBehind(t *testing.T, cluster *kfake.Cluster, topic string) {
	t.Helper()
	info := cluster.TopicInfo(topic)
	was := cluster.PartitionInfos(topic)
	addrs := cluster.ListenAddrs()
	batches := make([][]byte, len(was))
	for _, p := range was {
		batches[p.Partition] = rawBatches(t, addrs, info, p)
		if p.Leader != 0 {
			t.Fatalf("partition %d is led by %d", p.Partition, p.Leader)
		}
		if err := cluster.MoveTopicPartition(topic, p.Partition, 1); err != nil {
			t.Fatal(err)
		}
	}
	atNode0 := func(key kmsg.Key, answer func(kmsg.Request) kmsg.Response) {
		cluster.ControlKey(key.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			if cluster.CurrentNode() != 0 {
				return nil, nil, false
			}
			return answer(req), nil, true
		})
	}
	atNode0(kmsg.Metadata, func(req kmsg.Request) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		for node, addr := range addrs {
			b := kmsg.NewMetadataResponseBroker()
			host, port, _ := net.SplitHostPort(addr)
			n, _ := strconv.Atoi(port)
			b.NodeID, b.Host, b.Port = int32(node), host, int32(n)
			resp.Brokers = append(resp.Brokers, b)
		}
		rt := kmsg.NewMetadataResponseTopic()
		rt.Topic, rt.TopicID = &topic, info.TopicID
		for _, p := range was {
			rp := kmsg.NewMetadataResponseTopicPartition()
			rp.Partition, rp.Leader, rp.LeaderEpoch = p.Partition, 0, p.Epoch
			rp.Replicas, rp.ISR = []int32{0, 1, 2}, []int32{0, 1, 2}
			rt.Partitions = append(rt.Partitions, rp)
		}
		if len(req.(*kmsg.MetadataRequest).Topics) > 0 {
			resp.Topics = append(resp.Topics, rt)
		}
		return resp
	})
	atNode0(kmsg.ListOffsets, func(req kmsg.Request) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, qt := range req.(*kmsg.ListOffsetsRequest).Topics {
			rt := kmsg.NewListOffsetsResponseTopic()
			rt.Topic = qt.Topic
			for _, qp := range qt.Partitions {
				rp := kmsg.NewListOffsetsResponseTopicPartition()
				rp.Partition = qp.Partition
				switch p := was[qp.Partition]; {
				case qp.CurrentLeaderEpoch > p.Epoch:
					rp.ErrorCode = kerr.UnknownLeaderEpoch.Code
				case qp.Timestamp == -1:
					rp.Offset = p.LastStableOffset
				default:
					rp.Offset = 0
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp
	})
	atNode0(kmsg.Fetch, func(req kmsg.Request) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		for _, qt := range req.(*kmsg.FetchRequest).Topics {
			rt := kmsg.NewFetchResponseTopic()
			rt.Topic, rt.TopicID = qt.Topic, qt.TopicID
			for _, qp := range qt.Partitions {
				rp := kmsg.NewFetchResponseTopicPartition()
				rp.Partition = qp.Partition
				p := was[qp.Partition]
				rp.HighWatermark, rp.LastStableOffset = p.HighWatermark, p.LastStableOffset
				switch {
				case qp.CurrentLeaderEpoch > p.Epoch:
					rp.ErrorCode = kerr.UnknownLeaderEpoch.Code
				case qp.FetchOffset < p.HighWatermark:
					rp.RecordBatches = batches[qp.Partition]
				case qp.FetchOffset > p.HighWatermark:
					rp.ErrorCode = kerr.OffsetOutOfRange.Code
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp
	})
}

// rawBatches is what node 0 gives who reads the partition from its start.
func rawBatches(t *testing.T, addrs []string, info *kfake.TopicInfo, p *kfake.PartitionInfo) []byte {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Ping(timeout(t)); err != nil { // to know the brokers
		t.Fatal(err)
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionEpoch = 1<<20, -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = info.Topic, info.TopicID
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.PartitionMaxBytes = p.Partition, 1<<20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := client.Broker(0).Request(timeout(t), req)
	if err != nil {
		t.Fatal(err)
	}
	topics := resp.(*kmsg.FetchResponse).Topics
	if len(topics) != 1 || len(topics[0].Partitions) != 1 || len(topics[0].Partitions[0].RecordBatches) == 0 {
		t.Fatalf("partition %d gave nothing", p.Partition)
	}
	return topics[0].Partitions[0].RecordBatches
}

// ledByNode0 makes a topic of two partitions that node 0 leads and knows to hold
// the numbers 1 and 2, and a connection that asks node 0 first. Then another leads,
// and holds number 3 as well.
func ledByNode0(t *testing.T, made func(conn kafka.Connection, spec kafka.TopicSpec)) (kafka.Connection, kafka.TopicSpec) {
	t.Helper()
	cluster, all := threeBrokers(t)
	spec := kafka.TopicSpec{Name: "fhir.changes", Partitions: 2}
	if err := kafka.EnsureTopics(timeout(t), all, []kafka.TopicSpec{spec}); err != nil {
		t.Fatal(err)
	}
	for p := range spec.Partitions {
		if err := cluster.MoveTopicPartition(spec.Name, p, 0); err != nil {
			t.Fatal(err)
		}
	}
	first := kafka.Connection{Brokers: all.Brokers[:1]}
	topic := openTransactional(t, all, spec)
	lastIs(t, topic, 0)
	if err := put(topic, timeout(t), nil, 1, 2); err != nil {
		t.Fatal(err)
	}
	if made != nil {
		made(first, spec)
	}
	leaveBehind(t, cluster, spec.Name)
	topic = openTransactional(t, all, spec)
	lastIs(t, topic, 2)
	if err := put(topic, timeout(t), nil, 3); err != nil {
		t.Fatal(err)
	}
	return first, spec
}

// What a topic holds is what its leader says that was chosen last, though one that
// was before it still answers: else what is there would be written again, and the
// log be taken to have lost records.
func TestLeaderLeftBehind(t *testing.T) {
	t.Parallel()
	conn, spec := ledByNode0(t, nil)
	ranges, err := kafka.Ranges(timeout(t), conn, spec.Name)
	if err != nil {
		t.Fatal(err)
	}
	for tp, r := range ranges {
		if r.Start != 0 || r.End != 5 { // three records, two markers
			t.Errorf("partition %d holds %d to %d, want 0 to 5", tp.Partition, r.Start, r.End)
		}
	}
	topic := openTransactional(t, conn, spec)
	lastIs(t, topic, 3)
	if err := put(topic, timeout(t), nil, 4); err != nil {
		t.Fatal(err)
	}
	lastIs(t, topic, 4)
}

// Who reads from a leader that another took the place of goes on with the other,
// from the start of the topic as from its end.
func TestReadersOfLeaderLeftBehind(t *testing.T) {
	t.Parallel()
	var early <-chan string
	conn, spec := ledByNode0(t, func(conn kafka.Connection, spec kafka.TopicSpec) {
		early = follow(t, conn, spec.Name, kafka.FromStart)
		sees(t, early, "0:1", "0:2", "1:1", "1:2")
	})
	sees(t, early, "0:3", "1:3")
	start, end := follow(t, conn, spec.Name, kafka.FromStart), follow(t, conn, spec.Name, kafka.FromEnd)
	sees(t, start, "0:1", "0:2", "0:3", "1:1", "1:2", "1:3")
	topic := openTransactional(t, conn, spec)
	lastIs(t, topic, 3)
	for n := 4; len(end) == 0; n++ { // it may begin behind the first of them
		if err := put(topic, timeout(t), nil, n); err != nil {
			t.Fatal(err)
		}
		sees(t, early, fmt.Sprint("0:", n), fmt.Sprint("1:", n))
		sees(t, start, fmt.Sprint("0:", n), fmt.Sprint("1:", n))
	}
	if n := <-end; !strings.Contains(n, ":") || strings.HasPrefix(n, "kafka") {
		t.Errorf("from the end: %s", n)
	}
}

// follow gives partition and number of each record of the topic as it comes.
func follow(t *testing.T, conn kafka.Connection, topic string, from kafka.From) <-chan string {
	seen := make(chan string, 64)
	ctx := timeout(t)
	go func() {
		err := kafka.Tail(ctx, conn, topic, from, func(r kafka.TailRecord) error {
			select {
			case seen <- strconv.Itoa(int(r.Partition)) + ":" + r.Header(kafka.OutboxHeader):
			case <-ctx.Done():
			}
			return nil
		})
		if ctx.Err() == nil {
			seen <- err.Error()
		}
	}()
	return seen
}

// sees waits for the records, in any order, and refuses others.
func sees(t *testing.T, seen <-chan string, names ...string) {
	t.Helper()
	missing := map[string]bool{}
	for _, n := range names {
		missing[n] = true
	}
	for late := timeout(t).Done(); len(missing) > 0; {
		select {
		case n := <-seen:
			if !missing[n] {
				t.Fatalf("not expected, or twice: %s", n)
			}
			delete(missing, n)
		case <-late:
			t.Fatalf("not seen: %v", missing)
		}
	}
}
