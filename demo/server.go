package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// patience is how long a server may take to start (it may have a crash to recover from) or to stop.
const patience = 90 * time.Second

// A server is one database server of ours, running or not.
type server struct {
	name    string // for people
	dir     string // holds data/, server.log and server.pid
	account account
	port    int // the last one used; 0 for none yet

	// command gives the program and its arguments for a port.
	command func(port int) (string, []string)
	// ping succeeds when our server, and no other, answers at the port.
	ping func(ctx context.Context, port int) error
	// clear removes what a killed server left that would keep the next from starting. It may be nil.
	clear func(ctx context.Context) error
	// stop is the signal for a clean shutdown that does not wait for clients.
	stop syscall.Signal
}

func (s *server) data() string    { return filepath.Join(s.dir, "data") }
func (s *server) pidFile() string { return filepath.Join(s.dir, "server.pid") }
func (s *server) logFile() string { return filepath.Join(s.dir, "server.log") }

// pid is that of the running server, or 0.
func (s *server) pid() int { return serverPID(s.pidFile(), s.dir+"/") }

// makeDir makes the server's folder for its account alone.
func (s *server) makeDir() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("demo: %s: %w", s.name, err)
	}
	if err := s.account.own(s.dir); err != nil {
		return fmt.Errorf("demo: %s: %w", s.name, err)
	}
	return nil
}

// initialise calls make on a fresh folder and puts it in place when that succeeds, once.
func (s *server) initialise(ctx context.Context, program func(data string) (string, []string)) error {
	if _, err := os.Stat(s.data()); err == nil {
		return nil
	}
	fresh := s.data() + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("demo: %s: %w", s.name, err)
	}
	name, args := program(fresh)
	if out, err := s.account.command(ctx, s.dir, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("demo: %s: make data folder %s: %w\n%s", s.name, fresh, err, out)
	}
	if err := os.Rename(fresh, s.data()); err != nil {
		return fmt.Errorf("demo: %s: %w", s.name, err)
	}
	return nil
}

// up adopts the server when it runs and starts it otherwise, and returns when it answers. save is told the port
// before the server uses it.
func (s *server) up(ctx context.Context, save func(port int) error, log func(string)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer within %s", patience))
	defer cancel()
	if s.pid() != 0 {
		if err := s.answers(ctx); err == nil {
			log(fmt.Sprintf("%s runs already on port %d: adopted", s.name, s.port))
			return nil
		} else if s.pid() != 0 {
			return fmt.Errorf("demo: %s runs as process %d and does not answer on port %d: %w (hint: see %s)",
				s.name, s.pid(), s.port, err, s.logFile())
		}
	}
	var err error
	for try := 0; try < 5 && ctx.Err() == nil; try++ {
		if err = s.launch(ctx, save); err == nil {
			log(fmt.Sprintf("%s started on port %d", s.name, s.port))
			return nil
		}
		// A server killed a moment ago may still hold its locks, and a port found free may be taken by now.
		pause(ctx, 300*time.Millisecond)
	}
	return err
}

// launch starts the server on its last port, if that is free, or on another.
func (s *server) launch(ctx context.Context, save func(port int) error) error {
	port, err := freePort(s.port)
	if err != nil {
		return fmt.Errorf("demo: %s: %w", s.name, err)
	}
	s.port = port
	if err := save(port); err != nil {
		return err
	}
	if s.clear != nil {
		if err := s.clear(ctx); err != nil {
			return err
		}
	}
	name, args := s.command(port)
	if err := s.account.detach(ctx, s.dir, s.pidFile(), s.logFile(), name, args...); err != nil {
		return err
	}
	if err := s.appeared(ctx); err != nil {
		return err
	}
	if err := s.answers(ctx); err != nil {
		return fmt.Errorf("demo: %s did not start: %w: %s (hint: see %s)", s.name, err, logTail(s.logFile()), s.logFile())
	}
	return nil
}

// appeared waits for the process id of a server just started.
func (s *server) appeared(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := poll(ctx, func() bool { _, err := os.Stat(s.pidFile()); return err == nil })
	if err != nil {
		return fmt.Errorf("demo: %s did not start (hint: see %s)", s.name, s.logFile())
	}
	return nil
}

// errGone says that the process ended while it was waited for.
var errGone = errors.New("the server's process ended")

// answers waits until the running server answers.
func (s *server) answers(ctx context.Context) error {
	var last error
	gone := false
	err := poll(ctx, func() bool {
		one, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if last = s.ping(one, s.port); last == nil {
			return true
		}
		gone = s.pid() == 0
		return gone
	})
	switch {
	case gone:
		return errGone
	case err != nil:
		return errors.Join(err, last)
	}
	return nil
}

// down stops the server cleanly and waits for its end.
func (s *server) down(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %s", patience))
	defer cancel()
	pid := s.pid()
	if pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, s.stop); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("demo: stop %s (process %d): %w", s.name, pid, err)
	}
	// Not s.pid() again: a process that is ending has no command line any more, and may still hold its locks.
	if err := poll(ctx, func() bool { return !alive(pid) }); err != nil {
		return fmt.Errorf("demo: %s (process %d) has not stopped: %w (hint: a client may hold it; see %s)", s.name, pid, err, s.logFile())
	}
	return nil
}

// freePort returns want when nobody listens there, and otherwise one the kernel chooses.
func freePort(want int) (int, error) {
	if want != 0 {
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(want))); err == nil {
			return want, l.Close()
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
