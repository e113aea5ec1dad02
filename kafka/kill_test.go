package kafka_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/kafka"
)

// victimDir names the environment variable that makes the test binary the
// process that is killed: broker, registry and writer in one.
const victimDir = "TRIBUTARY_KAFKA_VICTIM_DIR"

func startVictim(t *testing.T, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, bufio.NewScanner(out)
}

func awaitLine(t *testing.T, out *bufio.Scanner, want string) {
	t.Helper()
	for out.Scan() {
		if out.Text() == want {
			return
		}
	}
	t.Fatalf("the process ended before it said %q", want)
}

// TestKilled kills the process at random moments. Afterwards, of every
// transaction that was ever reported durable, the END's own incarnation has
// every row, the chain leads to it, and each partition is in order.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	var durable uint64
	for i := range 12 {
		cmd, out := startVictim(t, dir)
		if i > 0 || durable > 0 {
			awaitLine(t, out, "ready")
		}
		timer := time.AfterFunc(time.Duration(20+rand.IntN(400))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		for out.Scan() {
			var n uint64
			if _, err := fmt.Sscanf(out.Text(), "durable %d", &n); err == nil {
				durable = max(durable, n)
			}
		}
		timer.Stop()
		_ = cmd.Wait() // it was killed
	}
	if durable < 100 {
		t.Fatalf("only %d transactions became durable; the test shows nothing", durable)
	}
	broker := startBroker(t, kafka.BrokerConfig{Dir: dir})
	registry, err := kafka.OpenLocalRegistry(timeout(t), broker.Connection())
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	all := readAll(t, broker.Connection(), registry, topicNames(zooTopics(4)))
	checkDurable(t, all, durable)
	t.Logf("%d records, %d transactions durable over 12 kills", len(all), durable)
}

type rowID struct {
	incarnation change.Incarnation
	position    change.Position
}

// checkDurable applies what the topics hold as composition would: transactions
// complete by their END's own incarnation, along the chain.
func checkDurable(t *testing.T, all []kafka.Record, durable uint64) {
	t.Helper()
	rows := map[rowID]int{}
	last := map[kafka.TopicPartition]rowID{}
	ends := map[uint64][]*change.TxRecord{}
	for _, r := range all {
		if r.Tx != nil {
			if r.Tx.Status == change.Ended {
				ends[r.Tx.Mark.Position.Ordinal] = append(ends[r.Tx.Mark.Position.Ordinal], r.Tx)
			}
			continue
		}
		id := rowID{r.Event.Incarnation, r.Event.Position}
		rows[id]++
		tp := kafka.TopicPartition{Topic: r.Topic, Partition: r.Partition}
		before := last[tp]
		if id.incarnation < before.incarnation || id.incarnation == before.incarnation && id.position.Compare(before.position) <= 0 {
			t.Fatalf("%v: %v after %v", tp, id, before)
		}
		last[tp] = id
	}
	at := uint64(1) // the snapshot
	for ordinal := uint64(2); ordinal <= durable; ordinal++ {
		if ordinal%5 == 0 {
			continue // had no rows
		}
		if !complete(ends[ordinal], rows, at) {
			t.Fatalf("transaction %d was reported durable and cannot be applied after %d: ENDs %+v", ordinal, at, ends[ordinal])
		}
		at = ordinal
	}
}

// complete reports whether one of the ENDs names rows that are all there and
// follows what was applied, without leaving anything out.
func complete(ends []*change.TxRecord, rows map[rowID]int, applied uint64) bool {
	for _, e := range ends {
		found := int64(0)
		for seq := uint64(1); seq <= uint64(e.EventCount); seq++ {
			p := e.Mark.Position
			p.Sequence = seq
			if rows[rowID{e.Incarnation, p}] > 0 {
				found++
			}
		}
		if found == e.EventCount && e.Previous.Ordinal >= applied && e.Previous.Ordinal < e.Mark.Position.Ordinal && sameEverywhere(e, ends) {
			return true
		}
	}
	return false
}

func sameEverywhere(e *change.TxRecord, ends []*change.TxRecord) bool {
	have := map[int32]bool{}
	for _, o := range ends {
		if o.Incarnation == e.Incarnation {
			have[o.Partition] = true
		}
	}
	for _, p := range e.Partitions {
		if !have[p] {
			return false
		}
	}
	return true
}

// victim runs until it is killed.
func victim(dir string) {
	if err := runVictim(dir, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "victim:", err)
		os.Exit(1)
	}
}

func runVictim(dir string, out io.Writer) error {
	ctx := context.Background()
	broker, err := kafka.StartBroker(kafka.BrokerConfig{Dir: dir, Addr: "127.0.0.1:0", ReserveBytes: 1, SegmentBytes: 64 << 10})
	if err != nil {
		return err
	}
	conn := broker.Connection()
	if err := kafka.EnsureTopics(ctx, conn, zooTopics(4)); err != nil {
		return err
	}
	registry, err := kafka.OpenLocalRegistry(ctx, conn)
	if err != nil {
		return err
	}
	w, err := kafka.OpenWriter(ctx, kafka.WriterConfig{Connection: conn, Registry: registry, Source: "zoo", Tables: zooTables})
	if err != nil {
		return err
	}
	r := w.Resume()
	snapshot := r.Durable.Position.IsZero()
	err = w.Start(ctx, change.TxRecord{Incarnation: r.Incarnation + 1, Mark: r.Durable, History: "sys/1", Snapshot: snapshot})
	if err != nil {
		return err
	}
	if snapshot {
		if err := w.SnapshotEnd(ctx, ended(1), zooTables); err != nil {
			return err
		}
		r.Durable = mark(1)
	}
	fmt.Fprintln(out, "ready")
	return work(ctx, w, r.Durable.Position.Ordinal, out)
}

func work(ctx context.Context, w *kafka.Writer, at uint64, out io.Writer) error {
	reported := uint64(0)
	for ordinal := at + 1; ; ordinal++ {
		if ordinal%5 != 0 { // the others have no rows
			for seq := range uint64(1 + rand.IntN(6)) {
				owner := fmt.Sprint("owner-", rand.IntN(50))
				if err := w.Append(ctx, owner, pet(ordinal, seq+1, owner+strings.Repeat("x", rand.IntN(300)))); err != nil {
					return err
				}
			}
		}
		if err := w.End(ctx, ended(ordinal)); err != nil {
			return err
		}
		if ordinal%37 == 0 {
			if err := w.Watermark(ctx, mark(ordinal), time.Now()); err != nil {
				return err
			}
		}
		if ordinal%200 == 0 { // a source is not endless
			if err := w.Flush(ctx); err != nil {
				return err
			}
		}
		if d := w.Durable().Position.Ordinal; d > reported {
			reported = d
			fmt.Fprintln(out, "durable", d)
		}
		if w.Err() != nil {
			return errors.New("the writer stopped")
		}
	}
}
