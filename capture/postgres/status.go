package postgres

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/tributary-health/tributary/change"
)

// beat is how often the status is sent: the heartbeat, or more often where the
// server's patience is shorter.
func (r *Reader) beat(conn *pgconn.PgConn) time.Duration {
	res, err := conn.Exec(context.Background(), "SHOW wal_sender_timeout").ReadAll()
	if err != nil || len(res) != 1 || len(res[0].Rows) != 1 {
		return r.cfg.Heartbeat
	}
	timeout := parseInterval(string(res[0].Rows[0][0]))
	if timeout <= 0 {
		return r.cfg.Heartbeat
	}
	return max(10*time.Millisecond, min(r.cfg.Heartbeat, timeout/3))
}

// parseInterval reads a setting as the server prints it: 500ms, 60s, 1min, 0.
func parseInterval(s string) time.Duration {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	v, err := strconv.Atoi(s[:n])
	if err != nil {
		return 0
	}
	unit := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "min": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	return time.Duration(v) * unit[s[n:]]
}

// status tells the server at every beat what is confirmed, and asks how far it
// is. It is the only writer on the connection. When ctx ends it says so a last
// time and makes the reading end.
func (s *stream) status(ctx context.Context, beat time.Duration) error {
	defer s.conn.Close()
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			_ = sendStatus(s.conn, s.confirm.lsn(), time.Now()) // a courtesy: the next start sends it too
			return ctx.Err()
		case now := <-tick.C:
			if err := sendStatus(s.conn, s.confirm.lsn(), now); err != nil {
				return err
			}
		}
	}
}

// probe is the end of the server's log at one time of its clock: what was
// committed before at lies below end. (Commits that do not wait for their flush,
// synchronous_commit = off, may be later by that delay.)
type probe struct {
	end pglogrepl.LSN
	at  time.Time
}

// ask looks at every beat where the server's log ends.
func (s *stream) ask(ctx context.Context, q *pgx.Conn, beat time.Duration) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		var p probe
		var text string
		// The clock is read first: the end may then only be too far.
		err := q.QueryRow(ctx, "SELECT clock_timestamp(), pg_current_wal_flush_lsn()::text").Scan(&p.at, &text)
		if err != nil {
			return err
		}
		if p.end, err = pglogrepl.ParseLSN(text); err != nil {
			return err
		}
		p.at = p.at.UTC()
		s.probe.Store(&p)
		if h := s.cfg.Hooks.Head; h != nil {
			h(change.Mark{Position: below(s.generation, p.end), Token: text}, p.at)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
