package demo

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
)

//go:embed schema/postgres.sql
var postgresSchema string

//go:embed schema/mariadb.sql
var mariadbSchema string

// LoadOptions say what to load. Only Data is required.
type LoadOptions struct {
	// Data is a folder of Synthea CSV files, plain or .gz, named as the tables. patients, organizations, providers,
	// encounters and payers must be there. Header names match in any case; columns that the schema lacks are ignored.
	Data fs.FS
	// Progress is told, never concurrently, how many of a table's rows are written: once for every table with 0 at the
	// start, then every few thousand rows. Nil: nobody is.
	Progress func(table string, done, total int64)
}

// errOtherData is the refusal to mix two sets of members.
var errOtherData = errors.New("the work folder's databases hold other files' rows, or another version's tables " +
	"(hint: `make demo-clean` removes them, or name another folder with --work)")

// Load fills both databases, and returns at once when they were filled from the same files before: what has changed in them
// since stays. A load that was cut short, however, starts over. Every cell is checked against the type that the server's
// catalog gives its column, and kept digit for digit; an empty one is NULL, as is a NaN where a number belongs.
func Load(ctx context.Context, s *Servers, opts LoadOptions) error {
	print, err := fingerprint(opts.Data)
	if err != nil {
		return err
	}
	pg, err := openPostgresLoad(ctx, s)
	if err != nil {
		return err
	}
	defer pg.close()
	my, err := openMariaDBLoad(ctx, s)
	if err != nil {
		return err
	}
	defer my.close()

	todo, err := unfinished(ctx, print, pg, my)
	if err != nil || len(todo) == 0 {
		return err
	}
	seen, err := look(opts.Data)
	if err != nil {
		return err
	}
	return loadAll(ctx, todo, &job{data: opts.Data, survey: seen, print: print, tell: opts.Progress})
}

// unfinished returns the databases that must be filled. Two that hold one other set of files are refused: that load was
// complete, and what has changed since would be lost.
func unfinished(ctx context.Context, print string, pg, my target) ([]target, error) {
	first, err := pg.finished(ctx)
	if err != nil {
		return nil, err
	}
	second, err := my.finished(ctx)
	if err != nil {
		return nil, err
	}
	if first == second && first != "" && first != print {
		return nil, fmt.Errorf("demo: load: %w", errOtherData)
	}
	var todo []target
	if first != print {
		todo = append(todo, pg)
	}
	if second != print {
		todo = append(todo, my)
	}
	return todo, nil
}

// A target is one of the two databases while it is filled.
type target interface {
	// finished returns the fingerprint of the files that the last complete load was of, or "".
	finished(ctx context.Context) (string, error)
	// begin removes what an unfinished load left and makes the tables.
	begin(ctx context.Context) error
	// columns describes a table as the server does.
	columns(ctx context.Context, table string) ([]column, error)
	// write adds rows in the shared text format.
	write(ctx context.Context, w *rowWriter) error
	// finish makes the load durable and notes the fingerprint with it.
	finish(ctx context.Context, print string) error
	pharma() bool
	close()
}

// A job is what the loads of both databases share.
type job struct {
	data   fs.FS
	survey *survey
	print  string

	mu   sync.Mutex // held while tell runs
	tell func(table string, done, total int64)
}

func (j *job) report(table string, done int64) {
	if j.tell == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tell(table, done, j.survey.rows[table])
}

// loadAll fills the targets side by side; the first error stops both.
func loadAll(ctx context.Context, todo []target, j *job) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, t := range tables {
		for _, to := range todo {
			if t.pharma == to.pharma() {
				j.report(t.name, 0)
			}
		}
	}
	var wg sync.WaitGroup
	for _, to := range todo {
		wg.Go(func() {
			if err := loadOne(ctx, to, j); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func loadOne(ctx context.Context, to target, j *job) error {
	if err := to.begin(ctx); err != nil {
		return err
	}
	for _, t := range tables {
		if t.pharma != to.pharma() {
			continue
		}
		if err := loadTable(ctx, to, t, j); err != nil {
			return err
		}
	}
	return to.finish(ctx, j.print)
}

// loadTable writes a table in pieces, so that memory stays small and progress visible.
func loadTable(ctx context.Context, to target, t *table, j *job) error {
	cols, err := to.columns(ctx, t.name)
	if err != nil {
		return err
	}
	w := &rowWriter{table: t, columns: cols}
	var done int64
	flush := func() error {
		if w.rows == 0 {
			return nil
		}
		if err := to.write(ctx, w); err != nil {
			return err
		}
		done += int64(w.rows)
		w.buf, w.rows = w.buf[:0], 0
		j.report(t.name, done)
		return nil
	}
	err = t.each(j.data, j.survey, func(c *csvFile, r row) error {
		if err := w.add(j.survey, c, r); err != nil {
			return err
		}
		if w.rows < 5000 && len(w.buf) < 4<<20 {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// columnList is the table's columns for a statement. The names are the schema file's own.
func (w *rowWriter) columnList(quote string) string {
	names := make([]string, len(w.columns))
	for i, c := range w.columns {
		names[i] = quote + c.name + quote
	}
	return strings.Join(names, ", ")
}

// fingerprint tells one set of files from another: their names, sizes and first 64 MiB, and the schemas they are loaded into.
func fingerprint(data fs.FS) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, digest("schemas", postgresSchema, mariadbSchema))
	for _, t := range tables {
		for _, file := range []string{t.file + ".csv", t.file + ".csv.gz"} {
			if t.file == "" {
				continue
			}
			if err := hashFile(h, data, file); err != nil {
				return "", fmt.Errorf("demo: read %s: %w", file, err)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hashFile(h io.Writer, data fs.FS, file string) error {
	f, err := data.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	fmt.Fprintln(h, file, info.Size())
	_, err = io.CopyN(h, f, 64<<20)
	if err == io.EOF {
		return nil
	}
	return err
}
