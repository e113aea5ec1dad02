package mysql

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	proto "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"golang.org/x/sync/semaphore"

	"github.com/tributary-health/tributary/capture"
)

// Events are read ahead of the one that is decoded by at most so many, of at
// most so many bytes; beyond that the server waits.
const (
	aheadEvents = 1024
	aheadBytes  = 32 << 20
)

// arrived is an event as it came from the server, undecoded.
type arrived struct {
	*replication.BinlogEvent
	at time.Time
}

// feed takes events from the syncer's goroutine to the run's.
type feed struct {
	ctx    context.Context
	events chan arrived
	ahead  *semaphore.Weighted
}

// HandleEvent is called by the syncer; while it waits, nothing more is read.
func (f *feed) HandleEvent(e *replication.BinlogEvent) error {
	if err := f.ahead.Acquire(f.ctx, weight(e)); err != nil {
		return err
	}
	select {
	case f.events <- arrived{e, time.Now()}:
		return nil
	case <-f.ctx.Done():
		return f.ctx.Err()
	}
}

func weight(e *replication.BinlogEvent) int64 { return int64(min(len(e.RawData), aheadBytes)) }

// stream reads the log after the run's mark until ctx ends or something stops it.
func (r *run) stream(ctx context.Context) error {
	set, err := proto.ParseGTIDSet(r.srv.flavor, r.mark.Token)
	if err != nil {
		return r.cfg.errorf("resume", capture.Corrupt, "GTID set %q: %w", r.mark.Token, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &feed{ctx, make(chan arrived, aheadEvents), semaphore.NewWeighted(aheadBytes)}
	syncer := replication.NewBinlogSyncer(r.syncerConfig(f))
	failed := make(chan error, 1)
	var wg sync.WaitGroup
	defer func() {
		cancel()
		syncer.Close()
		wg.Wait()
	}()
	streamer, err := syncer.StartSyncGTID(set.Clone())
	if err != nil {
		return r.streamError(err)
	}
	wg.Add(1)
	go func() {
		defer wg.Done()
		// Events go to f; what comes out here is only the error that ends them.
		_, err := streamer.GetEvent(ctx)
		failed <- err
	}()
	d := newDecoder(r, set)
	for {
		select {
		case e := <-f.events:
			f.ahead.Release(weight(e.BinlogEvent))
			if err := d.event(ctx, e); err != nil {
				return err
			}
		case err := <-failed:
			return r.streamError(err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *run) syncerConfig(f *feed) replication.BinlogSyncerConfig {
	cfg := replication.BinlogSyncerConfig{
		ServerID: r.cfg.serverID(r.dsn.Addr, r.srv.id),
		Flavor:   r.srv.flavor,
		Host:     r.dsn.Addr,
		User:     r.dsn.User,
		Password: r.dsn.Passwd,
		Charset:  "utf8mb4",
		// Raw: rows of tables that are not captured are never decoded, and the
		// rest is decoded by the run, beside the reading.
		RawModeEnabled:          true,
		SynchronousEventHandler: f,
		DisableRetrySync:        true, // it would go on within a transaction
		HeartbeatPeriod:         r.cfg.heartbeat(),
		ReadTimeout:             max(10*time.Second, 10*r.cfg.heartbeat()),
		FillZeroLogPos:          r.srv.flavor == MariaDB && r.srv.atLeast(11, 4),
		TLSConfig:               r.tls(),
		Logger:                  slog.New(slog.DiscardHandler),
		Option: func(c *client.Conn) error { // a slow Log must not cost the connection
			_, err := c.Execute("SET SESSION net_write_timeout=86400")
			return err
		},
	}
	if r.dsn.Net == "tcp" {
		if host, port, err := net.SplitHostPort(r.dsn.Addr); err == nil {
			if n, err := strconv.ParseUint(port, 10, 16); err == nil {
				cfg.Host, cfg.Port = host, uint16(n)
			}
		}
	}
	return cfg
}

// tls is what the DSN asks for; "preferred" does without.
func (r *run) tls() *tls.Config {
	if r.dsn.AllowFallbackToPlaintext {
		return nil
	}
	return r.dsn.TLS
}

// streamError classifies what ended the stream.
func (r *run) streamError(err error) error {
	e := r.cfg.errorf("read the log", capture.Transient, "%w", err)
	e.Position = r.where()
	var refused *proto.MyError
	if !errors.As(err, &refused) {
		return e
	}
	message := strings.ToLower(refused.Message)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(message, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("same server_uuid", "same server_id", "same server id"):
		e.Hint = "another replica uses this server id: set the source's server_id to a number that no other has"
	case refused.Code == proto.ER_ACCESS_DENIED_ERROR, refused.Code == proto.ER_SPECIFIC_ACCESS_DENIED_ERROR:
		e.Kind, e.Hint = capture.Configuration, "GRANT REPLICATION SLAVE ON *.* TO the user"
	case refused.Code != proto.ER_MASTER_FATAL_ERROR_READING_BINLOG:
	case has("max_allowed_packet"):
		e.Kind, e.Hint = capture.Configuration, "SET GLOBAL max_allowed_packet=1073741824"
	case has("diverged", "more gtids than", "extra erroneous"):
		e.Kind, e.Hint = capture.History, "if the source was replaced or restored on purpose: "+r.resnapshot()
	case has("purged", "could not find", "not in the master's binlog", "not in the source's binlog", "first log"):
		return r.gone(err)
	case has("crc", "checksum", "corrupt"):
		e.Kind = capture.Corrupt
	}
	return e
}

// gone says from where to where the log was lost.
func (r *run) gone(cause error) error {
	e := r.cfg.errorf("read the log", capture.Gone, "the log after %s is gone%s: %w", r.where(), r.oldest(), cause)
	e.Position = r.where()
	e.Hint = "the changes between are lost to the log; take a new snapshot: " + r.resnapshot()
	return e
}

// oldest asks for where the server's log begins now; an answer is a help, no need.
func (r *run) oldest() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	files, err := queryMaps(ctx, r.db, "SHOW BINARY LOGS")
	if err != nil || len(files) == 0 {
		return ""
	}
	first := files[0]["Log_name"]
	if r.srv.flavor == MySQL {
		purged, err := variables(ctx, r.db, "gtid_purged")
		if err != nil {
			return ""
		}
		return ", the server's begins with " + first + " after GTID " + strings.ReplaceAll(purged["gtid_purged"], "\n", "")
	}
	var gtid string
	if r.db.QueryRowContext(ctx, "SELECT COALESCE(BINLOG_GTID_POS(?, 4), '')", first).Scan(&gtid) != nil {
		return ", the server's begins with " + first
	}
	return ", the server's begins with " + first + " after GTID " + gtid
}

// where is the run's place in the log, for messages.
func (r *run) where() string {
	if r.mark.Position.IsZero() {
		return ""
	}
	return place(r.mark.Position.Ordinal) + ", GTID " + r.mark.Token
}
