package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ErrFenced says that another process writes the change topic under the same
// transactional id: a second process with a copy of the store, for one.
var ErrFenced = errors.New("fenced: another process writes the topic under the same transactional id")

// TransactionConfig sets up a TransactionalTopic.
type TransactionConfig struct {
	// ID is the transactional id. Who claims the topic under it ends what any
	// other left open, and shuts the other out. So all that write the topic,
	// whichever store they are of, MUST have the same.
	ID string

	// Timeout is how long a transaction may be open before the broker ends it
	// by itself, default 15 minutes, which is the most that a broker allows
	// unless told otherwise.
	Timeout time.Duration

	// BufferBytes bounds what is encoded and not acknowledged, default 16 MiB.
	BufferBytes int
}

// TransactionalTopic writes one change topic of a real Kafka in transactions:
// who reads committed records sees all records of one or none. The embedded
// broker has none. One goroutine uses it.
type TransactionalTopic struct {
	cfg    TransactionConfig
	spec   TopicSpec
	plain  *ChangeTopic // for reading alone
	client *kgo.Client  // nil until claim, and after anything went wrong
	ends   []int64      // by partition: nothing new is written before it
	sure   []bool       // by partition: a record of ours was committed since Last

	fenced time.Time // when it was last
}

// fenceWindow is how soon after one fencing a second one is another process,
// and not what a broker's restart made of a transaction.
const fenceWindow = 10 * time.Minute

// OpenTransactionalTopic connects to a topic that exists with the given number of
// partitions. Nothing is claimed before Last. Close ends what it starts.
func OpenTransactionalTopic(ctx context.Context, conn Connection, spec TopicSpec, cfg TransactionConfig) (*TransactionalTopic, error) {
	if cfg.ID == "" {
		return nil, failTopic("open the change topic", spec.Name, -1, errors.New("no transactional id"))
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 15 * time.Minute
	}
	if cfg.BufferBytes <= 0 {
		cfg.BufferBytes = 16 << 20
	}
	plain, err := OpenChangeTopic(ctx, conn, spec)
	if err != nil {
		return nil, err
	}
	return &TransactionalTopic{cfg: cfg, spec: spec, plain: plain, ends: make([]int64, spec.partitions()), sure: make([]bool, spec.partitions())}, nil
}

// Close ends the connections. A transaction that is open stays so until the
// topic is opened again or its time is up.
func (t *TransactionalTopic) Close() {
	t.drop()
	t.plain.Close()
}

func (t *TransactionalTopic) drop() {
	if t.client != nil {
		t.client.Close()
		t.client = nil
	}
}

// claim makes this process the only one that writes under the id. When it
// returns, what was in an open transaction is aborted and what was being
// committed is committed: the topic's end is settled.
func (t *TransactionalTopic) claim(ctx context.Context) error {
	const op = "claim the change topic"
	if t.client != nil {
		return nil
	}
	opts, err := changeProducer(ctx, t.plain.conn, t.spec.Name)
	if err != nil {
		return err
	}
	client, err := t.plain.conn.client(append(opts,
		kgo.TransactionalID(t.cfg.ID), kgo.TransactionTimeout(t.cfg.Timeout),
		kgo.MaxBufferedRecords(1<<30), kgo.MaxBufferedBytes(t.cfg.BufferBytes))...)
	if err != nil {
		return err
	}
	err = patiently(ctx, 0, func() error {
		_, _, err := client.ProducerID(ctx)
		return err
	})
	if err != nil {
		client.Close()
		return &Error{Op: op, Topic: t.spec.Name, Partition: -1, Err: err, Hint: claimHint(err, t.cfg.ID)}
	}
	t.client = client
	return nil
}

func claimHint(err error, id string) string {
	switch {
	case errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return "allow this user to write and describe the transactional id " + id
	case errors.Is(err, kerr.InvalidTransactionTimeout):
		return "the broker's transaction.max.timeout.ms is shorter than 15 minutes"
	}
	return ""
}

// Last is as ChangeTopic.Last, of what is committed. The first call, and the
// first after an error, claims the topic: it waits until every earlier
// transaction is decided, and shuts out whoever else writes under the id.
func (t *TransactionalTopic) Last(ctx context.Context, partition int32) (number uint64, end int64, err error) {
	if err := t.claim(ctx); err != nil {
		return 0, 0, err
	}
	if number, end, err = t.plain.Last(ctx, partition); err == nil && int(partition) < len(t.ends) {
		t.ends[partition], t.sure[partition] = end, false
	}
	return number, end, err
}

// Generation is as ChangeTopic.Generation, and claims nothing: who finds another
// store's records has not disturbed its publisher.
func (t *TransactionalTopic) Generation(ctx context.Context, partition int32) (string, error) {
	return t.plain.Generation(ctx, partition)
}

// Append writes the records of one partition in a transaction.
func (t *TransactionalTopic) Append(ctx context.Context, partition int32, records []ChangeRecord) error {
	return t.Transact(ctx, func(write func(int32, ChangeRecord) error) error {
		for _, r := range records {
			if err := write(partition, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// Transact calls fn, which writes records through write, and returns nil when all
// of them are durable and committed. write waits while too much is on its way;
// a record's bytes must not be changed afterwards. When Transact fails, all of
// the records are committed or none: Last tells, and must be called before the
// next Transact. An error that wraps ErrFenced is final.
func (t *TransactionalTopic) Transact(ctx context.Context, fn func(write func(partition int32, r ChangeRecord) error) error) error {
	const op = "write a transaction"
	if t.client == nil {
		return failTopic(op, t.spec.Name, -1, errors.New("the topic is not claimed: ask for its last record first"))
	}
	if err := t.client.BeginTransaction(); err != nil {
		t.drop()
		return failTopic(op, t.spec.Name, -1, err)
	}
	tx := &transaction{client: t.client, topic: t.spec.Name, ends: t.ends, sure: t.sure}
	err := fn(func(partition int32, r ChangeRecord) error { return tx.write(ctx, partition, r) })
	if err == nil {
		err = t.client.Flush(ctx)
	}
	err = errors.Join(err, tx.failure())
	committing := err == nil
	if committing {
		if err = t.client.EndTransaction(ctx, kgo.TryCommit); err == nil {
			tx.settle()
			return nil
		}
	}
	return failTopic(op, t.spec.Name, -1, t.failed(err, committing))
}

// failed gives the client up, so that the next claim settles what became of the
// transaction, and says whether that may be done.
func (t *TransactionalTopic) failed(err error, committing bool) error {
	if !committing { // readers need not wait for the next claim
		t.client.UnsafeAbortBufferedRecords()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = t.client.EndTransaction(ctx, kgo.TryAbort)
	}
	t.drop()
	if !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) {
		return err
	}
	before := t.fenced
	t.fenced = time.Now()
	if before.IsZero() || t.fenced.Sub(before) > fenceWindow {
		return err
	}
	return fmt.Errorf("%w (%w)", ErrFenced, err)
}

// transaction collects the first failure of its records, and where they end.
type transaction struct {
	client *kgo.Client
	topic  string
	ends   []int64 // before it
	sure   []bool

	mu    sync.Mutex
	first error
	next  map[int32]int64 // by partition: the offset after the last record
}

// settle takes over where the records end.
func (x *transaction) settle() {
	for partition, next := range x.next {
		x.ends[partition], x.sure[partition] = max(x.ends[partition], next), true
	}
}

// put notes where a record lies. One that lies before what the partition held
// says that the partition lost records, or was made anew: each transaction
// begins a new sequence, so the broker does not notice. The first one after Last
// must lie where the partition ended, for nobody else writes since the claim: one
// that lies behind says that Last was told by a leader whose place another had
// taken, and records of ours that it did not know would be written again.
func (x *transaction) put(rec *kgo.Record, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil && int(rec.Partition) < len(x.ends) {
		held := x.ends[rec.Partition]
		_, later := x.next[rec.Partition]
		switch {
		case rec.Offset < held:
			err = fmt.Errorf("partition %d lost records: the next one lies at offset %d, but it held %d", rec.Partition, rec.Offset, held)
		case rec.Offset > held && !x.sure[rec.Partition] && !later:
			err = fmt.Errorf("partition %d holds more than was known: the next record lies at offset %d, but it was said to end at %d", rec.Partition, rec.Offset, held)
		}
		if x.next == nil {
			x.next = make(map[int32]int64)
		}
		x.next[rec.Partition] = rec.Offset + 1
	}
	if x.first == nil {
		x.first = err
	}
}

func (x *transaction) write(ctx context.Context, partition int32, r ChangeRecord) error {
	if err := x.failure(); err != nil {
		return err
	}
	rec := &kgo.Record{Topic: x.topic, Partition: partition, Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
	}
	x.client.Produce(ctx, rec, x.put)
	return nil
}

func (x *transaction) failure() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.first
}
