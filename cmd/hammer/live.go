package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	_ "github.com/go-sql-driver/mysql" // the pharmacy's driver
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
)

// live measures how many row changes a second get from the sources' commit to
// readers, when the sources commit as fast as they can, and then how long one
// change takes on a quiet system.
func (l *lab) live(ctx context.Context) error {
	h := &hands{lab: l}
	defer h.close()
	if err := h.open(ctx); err != nil {
		return err
	}
	if err := h.burst(ctx, "all members"); err != nil {
		return err
	}
	settled := h.size.SettleSeconds
	if err := h.settle(ctx); err != nil {
		return err
	}
	h.size.SettleSeconds = settled // of the snapshot
	if err := h.only(ctx, h.made.Members[:min(shared, len(h.made.Members))]); err != nil {
		return err
	}
	if err := h.burst(ctx, "the same members"); err != nil {
		return err
	}
	return h.fresh(ctx)
}

// hands change the sources.
type hands struct {
	*lab
	pg     *pgxpool.Pool
	my     *sql.DB
	visits [][2]string // rows of the EMR, and their members
	orders []string
}

// change is half new rows, half changed ones, of rows drawn at random: keys are
// spread evenly, so the rows after a random key are a random row.
const (
	someObservations = "SELECT id::text, patient::text FROM observations WHERE id >= $1 AND encounter IS NOT NULL ORDER BY id LIMIT 20"
	someOrders       = "SELECT id FROM medications WHERE id >= ? ORDER BY id LIMIT 20"

	newObservation = `INSERT INTO observations (id, date, patient, encounter, category, code, description, value, units, type)
		SELECT gen_random_uuid(), date + interval '1 minute', patient, encounter, category, code, description, value, units, type FROM observations WHERE id = $1`
	otherPhone = "UPDATE patients SET phone = $1 WHERE id = $2"
	newFill    = `INSERT INTO fills (id, medication, patient, organization, dispensed, refill_number, days_supply, quantity, daw, code, ndc, description)
		SELECT uuid(), medication, patient, organization, dispensed + INTERVAL 1 DAY, refill_number + 1, days_supply, quantity, daw, code, ndc, description
		FROM fills WHERE medication = ? LIMIT 1`
	stopOrder = "UPDATE medications SET stop = '2026-01-01' + INTERVAL ? MINUTE WHERE id = ?"
)

func (h *hands) open(ctx context.Context) (err error) {
	if h.pg, err = pgxpool.New(ctx, h.servers.PostgresDSN()); err != nil {
		return err
	}
	if h.my, err = sql.Open("mysql", h.servers.MariaDBDSN()); err != nil {
		return err
	}
	r := dice(100)
	for len(h.visits) < h.changes {
		rows, err := h.pg.Query(ctx, someObservations, newKey(r))
		if err != nil {
			return err
		}
		for rows.Next() {
			var v [2]string
			if err := rows.Scan(&v[0], &v[1]); err != nil {
				return err
			}
			h.visits = append(h.visits, v)
		}
		if rows.Err() != nil {
			return rows.Err()
		}
	}
	for len(h.orders) < h.changes {
		if err := h.ordersBy(ctx, someOrders, newKey(r)); err != nil {
			return err
		}
	}
	r.Shuffle(len(h.visits), func(i, j int) { h.visits[i], h.visits[j] = h.visits[j], h.visits[i] })
	r.Shuffle(len(h.orders), func(i, j int) { h.orders[i], h.orders[j] = h.orders[j], h.orders[i] })
	return nil
}

func (h *hands) ordersBy(ctx context.Context, query string, args ...any) error {
	rows, err := h.my.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		h.orders = append(h.orders, id)
	}
	return rows.Err()
}

// ofMembers and ordersOf have the rows of some members, in the order of their keys.
const (
	ofMembers = "SELECT id::text, patient::text FROM observations WHERE patient::text = ANY($1) AND encounter IS NOT NULL ORDER BY id"
	ordersOf  = "SELECT id FROM medications WHERE patient IN (?) ORDER BY id"
)

// only has the next burst change rows of these members.
func (h *hands) only(ctx context.Context, members []Member) error {
	ids, args := make([]string, len(members)), make([]any, len(members))
	for i := range members {
		ids[i], args[i] = members[i].ID, members[i].ID
	}
	h.visits, h.orders = nil, nil
	rows, err := h.pg.Query(ctx, ofMembers, ids)
	if err != nil {
		return err
	}
	if h.visits, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (v [2]string, err error) {
		return v, row.Scan(&v[0], &v[1])
	}); err != nil {
		return err
	}
	if err := h.ordersBy(ctx, strings.Replace(ordersOf, "?", strings.Repeat("?,", len(args)-1)+"?", 1), args...); err != nil {
		return err
	}
	if len(h.visits) == 0 || len(h.orders) == 0 {
		return errors.New("the first members have nothing that could change")
	}
	r := dice(101)
	r.Shuffle(len(h.visits), func(i, j int) { h.visits[i], h.visits[j] = h.visits[j], h.visits[i] })
	r.Shuffle(len(h.orders), func(i, j int) { h.orders[i], h.orders[j] = h.orders[j], h.orders[i] })
	return nil
}

func (h *hands) close() {
	if h.pg != nil {
		h.pg.Close()
	}
	if h.my != nil {
		_ = h.my.Close()
	}
}

// burst commits transactions at both sources side by side, two rows each, and
// waits until every one is visible.
func (h *hands) burst(ctx context.Context, among string) error {
	before, err := h.process.metrics(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	rows, err := h.commitAll(ctx)
	if err != nil {
		return err
	}
	written := time.Since(began)
	const applied, versions = "tributary_applied_rows_total", "tributary_versions_total"
	var now map[string]float64
	err = h.process.until(ctx, 30*time.Minute, 50*time.Millisecond, func() (bool, error) {
		now, err = h.process.metrics(ctx)
		return now[applied]-before[applied] >= float64(rows), err
	})
	took := time.Since(began)
	l := Live{
		Among: among, Rows: rows, Versions: int(now[versions] - before[versions]),
		Seconds: took.Seconds(), SourceSeconds: written.Seconds(), Rate: float64(rows) / took.Seconds(),
		CPU: 1e6 * (now[cpuSeconds] - before[cpuSeconds]) / float64(rows),
	}
	h.size.Live = append(h.size.Live, l)
	say("live, %s: %d rows, %d versions in %.1f s (the sources took %.1f s), %.0f rows/s, %.0f us of CPU a row",
		among, l.Rows, l.Versions, l.Seconds, l.SourceSeconds, l.Rate, l.CPU)
	return err
}

// writers is how many connections change each source.
const writers = 4

// commitAll makes the changes of both sources and returns the rows of them.
func (h *hands) commitAll(ctx context.Context) (int, error) {
	var rows atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for w := range writers {
		g.Go(func() error {
			for i := w; i < h.changes; i += writers {
				n, err := h.emr(ctx, h.visits[i%len(h.visits)], i)
				if err != nil {
					return fmt.Errorf("EMR: %w", err)
				}
				rows.Add(n)
			}
			return nil
		})
		g.Go(func() error {
			for i := w; i < h.changes; i += writers {
				n, err := h.pharmacy(ctx, h.orders[i%len(h.orders)], i)
				if err != nil {
					return fmt.Errorf("pharmacy: %w", err)
				}
				rows.Add(n)
			}
			return nil
		})
	}
	err := g.Wait()
	return int(rows.Load()), err
}

func (h *hands) emr(ctx context.Context, v [2]string, i int) (rows int64, err error) {
	err = pgx.BeginFunc(ctx, h.pg, func(tx pgx.Tx) error {
		a, err := tx.Exec(ctx, otherPhone, fmt.Sprintf("(617) 555-%04d", i%10000), v[1])
		if err != nil {
			return err
		}
		b, err := tx.Exec(ctx, newObservation, v[0])
		rows = a.RowsAffected() + b.RowsAffected()
		return err
	})
	return rows, err
}

// pharmacy changes the order first: a new fill would hold a shared lock of it
// that two transactions could not both make exclusive.
func (h *hands) pharmacy(ctx context.Context, order string, i int) (rows int64, err error) {
	tx, err := h.my.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	for _, q := range []struct {
		sql  string
		args []any
	}{{stopOrder, []any{1 + i, order}}, {newFill, []any{order}}} {
		got, err := tx.ExecContext(ctx, q.sql, q.args...)
		if err != nil {
			return 0, errors.Join(err, tx.Rollback())
		}
		n, err := got.RowsAffected()
		if err != nil {
			return 0, errors.Join(err, tx.Rollback())
		}
		rows += n
	}
	return rows, tx.Commit()
}

// probes is how many single changes are timed.
const probes = 200

// fresh times, one after another, from the commit of a member's new phone number
// to the first answer that has it.
func (h *hands) fresh(ctx context.Context) error {
	r := dice(200)
	var all []time.Duration
	for i := range probes {
		member := h.made.pick(r, len(h.made.Members)).ID
		phone := fmt.Sprintf("(508) 555-9%03d", i)
		if _, err := h.pg.Exec(ctx, otherPhone, phone, member); err != nil {
			return err
		}
		began := time.Now()
		address := h.process.env["FHIR"] + "/Patient/" + h.ids.patient(member)
		err := h.process.until(ctx, time.Minute, time.Millisecond, func() (bool, error) {
			code, body, err := h.process.get(ctx, address, h.process.env["PROVIDER_KEY"])
			if err == nil && code != http.StatusOK {
				err = fmt.Errorf("the server answered %d", code)
			}
			return bytes.Contains(body, []byte(phone)), err
		})
		if err != nil {
			return fmt.Errorf("a change did not become visible: %w", err)
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	h.size.FreshP50, h.size.FreshP99 = millis(all, 0.5), millis(all, 0.99)
	say("from commit to visible: %.1f ms, %.1f ms (p99)", h.size.FreshP50, h.size.FreshP99)
	return nil
}
