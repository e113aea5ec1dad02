package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A Kind is one sort of change that the workload makes, each in one transaction of one database (but NewMember, in one of each).
type Kind string

// The kinds of change.
const (
	NewFill          Kind = "new fill"               // MariaDB: the next fill of an open order
	RefillAll        Kind = "refill of all orders"   // MariaDB: a fill of each of a member's open orders, at most twenty
	Replace          Kind = "replaced medication"    // MariaDB: an order stopped, another started, and that one's first fill
	MoveFill         Kind = "moved fill"             // MariaDB: a fill goes to another member's order
	DeleteFill       Kind = "deleted fill"           // MariaDB
	NewAllergy       Kind = "new allergy"            // PostgreSQL: an encounter and an allergy
	DeleteAllergy    Kind = "deleted allergy"        // PostgreSQL
	NewImmunization  Kind = "new immunization"       // PostgreSQL: an encounter and an immunization
	DeleteImmunized  Kind = "deleted immunization"   // PostgreSQL
	NewVisit         Kind = "new visit"              // PostgreSQL: an encounter, a condition, a procedure, three observations
	ResolveCondition Kind = "resolved condition"     // PostgreSQL
	CorrectPressure  Kind = "corrected pressure"     // PostgreSQL: both rows of a blood pressure
	HalvePressure    Kind = "halved pressure"        // PostgreSQL: one of the two rows deleted
	CorrectBirthDate Kind = "corrected birth date"   // PostgreSQL
	ChangePhone      Kind = "changed phone number"   // PostgreSQL
	NewMember        Kind = "new member with a plan" // PostgreSQL: a patient and an encounter; then MariaDB: a coverage span
)

// deck holds each kind as often as it comes up in each round of changes.
var deck = []struct {
	kind  Kind
	times int
	make  func(*hand, context.Context) error
}{
	{NewFill, 46, (*hand).newFill},
	{RefillAll, 5, (*hand).refillAll},
	{Replace, 2, (*hand).replace},
	{MoveFill, 4, (*hand).moveFill},
	{DeleteFill, 6, (*hand).deleteFill},
	{NewAllergy, 3, (*hand).newAllergy},
	{DeleteAllergy, 2, (*hand).deleteAllergy},
	{NewImmunization, 3, (*hand).newImmunization},
	{DeleteImmunized, 2, (*hand).deleteImmunization},
	{NewVisit, 4, (*hand).newVisit},
	{ResolveCondition, 2, (*hand).resolveCondition},
	{CorrectPressure, 2, (*hand).correctPressure},
	{HalvePressure, 1, (*hand).halvePressure},
	{CorrectBirthDate, 3, (*hand).correctBirthDate},
	{ChangePhone, 5, (*hand).changePhone},
	{NewMember, 1, (*hand).newMember},
}

// Kinds returns every kind of change.
func Kinds() []Kind {
	var all []Kind
	for _, c := range deck {
		all = append(all, c.kind)
	}
	return all
}

// Hooks tell what a workload does. Every field may be nil.
type Hooks struct {
	// Changed is called after each committed change.
	Changed func(Kind)
	// Retry is called when a source is away, before the workload waits and goes on with another change.
	Retry func(err error, wait time.Duration)
}

// A Workload keeps changing the sources. Which rows it changes, and how, follows from the seed and the databases' content: the
// same seed on the same content makes the same changes. New rows are dated after the content's newest, a quarter of an hour apart or so,
// never by the wall clock.
type Workload struct {
	Servers *Servers
	Seed    uint64
	// Rate is the number of changes a second; 0 means 20, less than 0 as many as go.
	Rate  float64
	Hooks Hooks
}

// Run makes changes until ctx ends, and then returns nil: the change under way is committed or rolled back. It outlives
// restarts of the servers. An error is one that trying again does not mend.
func (w Workload) Run(ctx context.Context) error {
	h := &hand{servers: w.Servers, seed: w.Seed}
	defer h.close()
	var wait time.Duration
	tick := w.ticker()
	defer tick.Stop()
	for ctx.Err() == nil {
		kind, err := h.step(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			wait = 0
			if kind != "" && w.Hooks.Changed != nil {
				w.Hooks.Changed(kind)
			}
		case conflict(err): // somebody else changed the same rows in between
		case lasting(err):
			return dbError("workload: "+string(kind), err)
		default:
			h.close()
			wait = min(max(100*time.Millisecond, 2*wait), 5*time.Second)
			if w.Hooks.Retry != nil {
				w.Hooks.Retry(dbError("workload: "+string(kind), err), wait)
			}
			pause(ctx, wait)
		}
		if w.Rate >= 0 {
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}
	return nil
}

func (w Workload) ticker() *time.Ticker {
	rate := w.Rate
	if rate <= 0 {
		rate = 20
	}
	return time.NewTicker(max(time.Duration(float64(time.Second)/rate), time.Microsecond))
}

// conflict tells whether a key or a foreign key stood in the way.
func conflict(err error) bool {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	return errors.As(err, &pg) && pg.Code[:2] == "23" || errors.As(err, &my) && (my.Number == 1062 || my.Number == 1451 || my.Number == 1452)
}

// lasting tells whether the server refused a statement for what it says, rather than being away, busy or shutting down.
func lasting(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code[:2] {
		case "08", "40", "53", "55", "57", "58": // connection, rollback, resources, object state, operator, system
			return false
		}
		return true
	}
	var my *mysql.MySQLError
	if errors.As(err, &my) {
		switch my.Number {
		case 1053, 1077, 1079, 1105, 1205, 1213, 1927, 1290, 1040, 1203: // shutdown, lock waits, killed, too many
			return false
		}
		return true
	}
	return false
}

// A hand makes one change after another.
type hand struct {
	servers *Servers
	seed    uint64

	pg    *pgx.Conn
	my    *sql.DB
	rng   *rand.Rand
	clock time.Time // the newest date so far
	epoch string    // names this run's rows apart from every other's
	cards []int     // indexes into deck, still to come in this round
	count int
}

// step makes the next change. Its kind is "" when the databases hold nothing that it could be made of.
func (h *hand) step(ctx context.Context) (Kind, error) {
	if err := h.open(ctx); err != nil {
		return "connect", err
	}
	if len(h.cards) == 0 {
		h.shuffle()
	}
	card := deck[h.cards[0]]
	h.cards = h.cards[1:]
	h.count++
	h.clock = h.clock.Add(time.Duration(300+h.rng.IntN(1200)) * time.Second)
	err := card.make(h, ctx)
	if errors.Is(err, errNothing) || errors.Is(err, sql.ErrNoRows) || errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return card.kind, err
}

// errNothing says that there is no row to make a change of.
var errNothing = errors.New("nothing to change")

func (h *hand) shuffle() {
	for i, c := range deck {
		for range c.times {
			h.cards = append(h.cards, i)
		}
	}
	h.rng.Shuffle(len(h.cards), func(i, j int) { h.cards[i], h.cards[j] = h.cards[j], h.cards[i] })
}

// open connects, and the first time finds the newest date, which also starts the random numbers: a run that goes on where
// another stopped draws others.
func (h *hand) open(ctx context.Context) error {
	if h.pg == nil {
		conn, err := pgx.Connect(ctx, h.servers.PostgresDSN())
		if err != nil {
			return err
		}
		h.pg = conn
	}
	if h.my == nil {
		db, err := openMariaDB(h.servers.MariaDBDSN())
		if err != nil {
			return err
		}
		db.SetMaxOpenConns(1)
		h.my = db
	}
	if h.rng != nil {
		return nil
	}
	if err := h.newest(ctx); err != nil {
		return err
	}
	h.rng = rand.New(rand.NewPCG(h.seed, uint64(h.clock.Unix())))
	h.epoch = fmt.Sprintf("%d %d", h.seed, h.clock.Unix())
	return nil
}

// newest sets the clock to the newest of the dates that the workload moves.
func (h *hand) newest(ctx context.Context) error {
	var visit time.Time
	if err := h.pg.QueryRow(ctx, "SELECT coalesce(max(start), '1970-01-01Z') FROM encounters").Scan(&visit); err != nil {
		return err
	}
	h.clock = visit.UTC()
	for _, q := range []string{
		"SELECT max(dispensed) FROM fills", "SELECT max(start) FROM medications", "SELECT max(stop) FROM medications",
		"SELECT max(start_date) FROM payer_transitions",
	} {
		var text sql.NullString
		if err := h.my.QueryRowContext(ctx, q).Scan(&text); err != nil {
			return err
		}
		if !text.Valid {
			continue
		}
		t, ok := parseTime(text.String)
		if !ok {
			return fmt.Errorf("demo: workload: MariaDB gave no time for %q", q)
		}
		if t.After(h.clock) {
			h.clock = t
		}
	}
	return nil
}

// close drops the connections; the next step opens new ones.
func (h *hand) close() {
	if h.pg != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		_ = h.pg.Close(ctx)
		cancel()
		h.pg = nil
	}
	if h.my != nil {
		_ = h.my.Close()
		h.my = nil
	}
}

// id is the primary key of a row that the present step makes.
func (h *hand) id(table string, nth int) string {
	return surrogate(table, nth, "workload", h.epoch, fmt.Sprint(h.count))
}

// somewhere is a random key: the row at or after it, in key order, is a row picked at random.
func (h *hand) somewhere() string {
	return surrogate("pick", 0, fmt.Sprint(h.rng.Uint64()))
}

// pick is a random one of texts.
func (h *hand) pick(texts ...string) string { return texts[h.rng.IntN(len(texts))] }
