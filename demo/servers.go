package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Options say where the servers live. Only Work is required.
type Options struct {
	// Work is the folder for the servers and what is remembered about them; it is made when missing.
	Work string
	// Log is told, in a short line each, what is done that takes time or that a user should know. Nil: nobody is.
	Log func(string)
	// Elsewhere is where the servers' data goes when root asks and the packages' users cannot enter Work.
	// Default /var/lib/tributary-demo.
	Elsewhere string
}

// Servers are the demo's two running database servers. They belong to the work folder, not to this process: they live on
// when it ends without Stop. Methods may be called concurrently.
type Servers struct {
	work             string
	state            state
	postgres, mariaB *server
}

// Start makes both servers run and returns when they answer: it installs the programs when they are missing, makes the data
// folders the first time, adopts servers that still run, and restarts those that ended, on their old ports when these
// are free. Only servers of the work folder are touched.
func Start(ctx context.Context, opts Options) (*Servers, error) {
	log := opts.Log
	if log == nil {
		log = func(string) {}
	}
	if opts.Elsewhere == "" {
		opts.Elsewhere = "/var/lib/tributary-demo"
	}
	work, err := openWork(opts.Work)
	if err != nil {
		return nil, err
	}
	unlock, err := lockWork(ctx, work)
	if err != nil {
		return nil, err
	}
	defer unlock()
	progs, err := provide(ctx, work, log)
	if err != nil {
		return nil, err
	}
	s, err := prepare(ctx, work, opts.Elsewhere, progs, log)
	if err != nil {
		return nil, err
	}
	return s, s.start(ctx, progs, log)
}

// prepare chooses place, ports and passwords, or finds those of the last time.
func prepare(ctx context.Context, work, elsewhere string, progs programs, log func(string)) (*Servers, error) {
	pg, err := serverAccount("postgres")
	if err != nil {
		return nil, err
	}
	my, err := serverAccount("mysql")
	if err != nil {
		return nil, err
	}
	st, err := readState(work)
	if err != nil {
		return nil, err
	}
	if st.Servers == "" {
		st = state{PostgresKey: password(), MariaDBKey: password()}
		if st.Servers, err = placeServers(ctx, work, elsewhere, []account{pg, my}, log); err != nil {
			return nil, err
		}
		if err := writeState(work, st); err != nil {
			return nil, err
		}
	}
	if barred := barredFolder(ctx, st.Servers, []account{pg, my}); barred != "" {
		return nil, fmt.Errorf("demo: the servers' users (postgres, mysql) can no longer enter %s (hint: `chmod o+x %s`)", barred, barred)
	}
	bin, err := progs.postgresFor(filepath.Join(st.Servers, "postgres", "data"))
	if err != nil {
		return nil, err
	}
	return &Servers{
		work: work, state: st,
		postgres: newPostgres(filepath.Join(st.Servers, "postgres"), bin, pg, st.PostgresPort, st.PostgresKey),
		mariaB:   newMariaDB(filepath.Join(st.Servers, "mariadb"), progs.mariadbd, my, st.MariaDBPort, st.MariaDBKey),
	}, nil
}

// start brings both servers up, one after the other.
func (s *Servers) start(ctx context.Context, progs programs, log func(string)) error {
	if err := errors.Join(s.postgres.makeDir(), s.mariaB.makeDir()); err != nil {
		return err
	}
	bin, err := progs.postgresFor(s.postgres.data())
	if err != nil {
		return err
	}
	if err := initPostgres(ctx, s.postgres, bin, s.state.PostgresKey); err != nil {
		return err
	}
	if err := initMariaDB(ctx, s.mariaB, progs.mariadbInstall, s.state.MariaDBKey); err != nil {
		return err
	}
	save := func(to *int) func(int) error {
		return func(port int) error { *to = port; return writeState(s.work, s.state) }
	}
	if err := s.postgres.up(ctx, save(&s.state.PostgresPort), log); err != nil {
		return err
	}
	if err := s.mariaB.up(ctx, save(&s.state.MariaDBPort), log); err != nil {
		return err
	}
	return makeDatabase(ctx, s.state.PostgresPort, s.state.PostgresKey)
}

// PostgresDSN is the EMR's address as a URL, with a user that may replicate, define and change everything.
func (s *Servers) PostgresDSN() string {
	return postgresDSN(s.state.PostgresPort, s.state.PostgresKey, "emr")
}

// MariaDBDSN is the pharmacy's address in the form of the Go driver, user:password@tcp(host:port)/pharmacy, with a user that
// may replicate, define and change everything.
func (s *Servers) MariaDBDSN() string {
	return mariadbDSN(s.state.MariaDBPort, s.state.MariaDBKey, "pharmacy")
}

// Stop shuts both servers down cleanly, without waiting for their clients, and returns when their processes have ended.
// Servers that do not run are fine.
func (s *Servers) Stop(ctx context.Context) error {
	unlock, err := lockWork(ctx, s.work)
	if err != nil {
		return err
	}
	defer unlock()
	return s.stop(ctx)
}

func (s *Servers) stop(ctx context.Context) error {
	return errors.Join(s.postgres.down(ctx), s.mariaB.down(ctx))
}

// Remove stops the work folder's servers and deletes all that Start and Load made, wherever it lies; the folder itself goes
// when nothing else is in it. It refuses a folder that Start did not mark. A folder that does not exist is fine.
func Remove(ctx context.Context, work string) error {
	work, err := filepath.Abs(work)
	if err != nil {
		return fmt.Errorf("demo: work folder: %w", err)
	}
	if _, err := os.Stat(work); os.IsNotExist(err) {
		return nil
	}
	if _, err := os.Stat(filepath.Join(work, marker)); err != nil {
		return fmt.Errorf("demo: %s has no %s file, so the demo did not make it: nothing deleted", work, marker)
	}
	unlock, err := lockWork(ctx, work)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := readState(work)
	if err != nil {
		return err
	}
	if st.Servers != "" {
		s := Servers{
			work: work, state: st,
			postgres: newPostgres(filepath.Join(st.Servers, "postgres"), "", account{}, st.PostgresPort, st.PostgresKey),
			mariaB:   newMariaDB(filepath.Join(st.Servers, "mariadb"), "", account{}, st.MariaDBPort, st.MariaDBKey),
		}
		if err := s.stop(ctx); err != nil {
			return err
		}
	}
	return removeFiles(work, st)
}

// removeFiles deletes the servers' folders, then what points at them, the marker last: a removal cut short can be repeated.
func removeFiles(work string, st state) error {
	var errs []error
	if st.Servers != "" {
		if _, err := os.Stat(filepath.Join(st.Servers, marker)); err == nil {
			errs = append(errs, os.RemoveAll(filepath.Join(st.Servers, "postgres")), os.RemoveAll(filepath.Join(st.Servers, "mariadb")))
			if st.Servers != work {
				errs = append(errs, os.RemoveAll(st.Servers))
				_ = os.Remove(filepath.Dir(st.Servers)) // only when it held no other demo's
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("demo: remove servers: %w", err)
	}
	for _, name := range []string{stateFile(work), stateFile(work) + ".new", filepath.Join(work, marker)} {
		if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("demo: remove: %w", err)
		}
	}
	_ = os.Remove(work) // only succeeds when empty: what others keep there is theirs
	return nil
}
