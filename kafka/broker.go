package kafka

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// BrokerConfig sets up an embedded broker. Dir is the only field without a
// default.
type BrokerConfig struct {
	// Dir is the data directory. One process at a time uses it.
	Dir string

	// Addr is the address to listen on, default 127.0.0.1:9092. Port 0 takes any
	// free port. There is no login: whoever reaches it reads everything.
	Addr string

	// Advertise is the host:port that clients are told to connect to, for those
	// who reach the broker by another name than Addr. Default: the address
	// listened on.
	Advertise string

	// ReserveBytes is the free disk space below which nothing more is accepted,
	// default 512 MiB. It has to hold what every other writer of the disk
	// writes in the time it takes to notice.
	ReserveBytes int64

	// CheckInterval is how often free space is looked at while nobody writes,
	// default 1 s.
	CheckInterval time.Duration

	// SegmentBytes is the size of a log file, default 64 MiB. A start reads one
	// of them per partition at a time.
	SegmentBytes int64

	Hooks BrokerHooks
}

// BrokerHooks tell an observer what happens; any may be nil. They are called
// from the broker's own goroutines, MUST return quickly and MUST NOT call the
// broker.
type BrokerHooks struct {
	// Full is called when the broker starts (full) and stops refusing records
	// for want of disk space.
	Full func(full bool, free, reserve int64)

	// Warning is called with what the broker's storage complains of.
	Warning func(message string)
}

// Broker is a Kafka broker inside this process: one node, no replication, no
// transactions, no compaction, no retention, every batch synced before it is
// acknowledged. Any Kafka client can connect. It is safe for concurrent use.
type Broker struct {
	addr     string
	cluster  *kfake.Cluster
	listener *guardListener
	space    *space
	lock     *os.File
	failed   atomic.Pointer[string]
	hooks    BrokerHooks
	stop     chan struct{}
	done     sync.WaitGroup
	closing  sync.Once
}

func (c BrokerConfig) withDefaults() (BrokerConfig, error) {
	if c.Dir == "" {
		return c, errors.New("no data directory")
	}
	if c.Addr == "" {
		c.Addr = "127.0.0.1:9092"
	}
	if c.ReserveBytes == 0 {
		c.ReserveBytes = 512 << 20
	}
	if c.CheckInterval == 0 {
		c.CheckInterval = time.Second
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = 64 << 20
	}
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		return c, fmt.Errorf("address %s: %w", c.Addr, err)
	}
	return c, nil
}

// StartBroker opens the data directory and listens. Close ends what it starts.
func StartBroker(cfg BrokerConfig) (*Broker, error) {
	const op = "start the embedded broker"
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fail(op, err)
	}
	b := &Broker{hooks: cfg.Hooks, stop: make(chan struct{})}
	if err := b.start(op, cfg); err != nil {
		b.release()
		return nil, err
	}
	return b, nil
}

func (b *Broker) start(op string, cfg BrokerConfig) (err error) {
	if err = os.MkdirAll(filepath.Join(cfg.Dir, "log"), 0o750); err != nil {
		return fail(op, err)
	}
	if b.lock, err = lockDir(cfg.Dir); err != nil {
		return fail(op, err)
	}
	listener, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return &Error{Op: op, Partition: -1, Err: err,
			Hint: "another program may listen on " + cfg.Addr + "; choose another broker address"}
	}
	b.listener = newGuardListener(listener, cfg.Advertise)
	b.addr = listener.Addr().String()
	if b.space, err = newSpace(cfg.Dir, cfg.ReserveBytes, cfg.Hooks.Full); err != nil {
		return fail(op, err)
	}
	if err = repairLog(filepath.Join(cfg.Dir, "log")); err != nil {
		return fail(op, err)
	}
	b.cluster, err = kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ClusterID("tributary"),
		kfake.DataDir(filepath.Join(cfg.Dir, "log")),
		kfake.SyncWrites(),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return b.listener, nil }),
		kfake.WithLogger(brokerLog{b}),
		kfake.BrokerConfigs(map[string]string{
			"log.retention.ms":    "-1",
			"log.retention.bytes": "-1",
			"message.max.bytes":   strconv.Itoa(maxBatchBytes),
			"log.segment.bytes":   strconv.FormatInt(cfg.SegmentBytes, 10),
		}))
	if err != nil {
		return fail(op, err)
	}
	b.cluster.Fault(b.refusals()...)
	b.done.Go(func() { b.space.watch(b.stop, cfg.CheckInterval) })
	return nil
}

// Addr is the host:port that the broker listens on.
func (b *Broker) Addr() string { return b.addr }

// Connection reaches the broker.
func (b *Broker) Connection() Connection { return Connection{Brokers: []string{b.addr}} }

// Full reports whether records are refused for want of disk space; clients
// retry until there is room again.
func (b *Broker) Full() bool { return b.space.full.Load() }

// Err returns why the broker stopped accepting records until it is started
// again: its storage failed a write. Nil while it works.
func (b *Broker) Err() error {
	if message := b.failed.Load(); message != nil {
		return &Error{Op: "store records", Partition: -1, Err: errors.New(*message),
			Hint: "the embedded broker accepts nothing more until it is restarted"}
	}
	return nil
}

// Close stops listening, writes what a fast start needs and releases the data
// directory. Clients see the broker go away. Calling it again does nothing.
func (b *Broker) Close() {
	b.closing.Do(func() {
		close(b.stop)
		b.done.Wait()
		b.cluster.Close()
		b.release()
	})
}

// release gives back what StartBroker took, as far as it got.
func (b *Broker) release() {
	if b.listener != nil {
		_ = b.listener.Close()
		b.listener.wait()
	}
	if b.lock != nil {
		_ = b.lock.Close() // closing releases the lock
	}
}
