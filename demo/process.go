package demo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// An account is whom a server runs as. The zero account is the caller.
type account struct {
	name     string
	uid, gid int
	switched bool // root runs the server as somebody else
}

// serverAccount is the package's own user when root asks, and oneself otherwise: PostgreSQL refuses to run as root.
func serverAccount(name string) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, fmt.Errorf("demo: root runs the server as user %q, and there is none (hint: run `adduser --system --group --no-create-home %s`, or start the demo as an ordinary user)", name, name)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return account{}, fmt.Errorf("demo: user %s: %w", name, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return account{}, fmt.Errorf("demo: user %s: %w", name, err)
	}
	return account{name: name, uid: uid, gid: gid, switched: true}, nil
}

// own gives a file or folder to the account.
func (a account) own(path string) error {
	if !a.switched {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}

// command is a command run as the account, with an environment that no PG* or MYSQL* variable of the caller reaches.
func (a account) command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin:" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if a.switched {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return cmd
}

// unreachable returns the first folder on the way to path that the account may not enter, or "".
func (a account) unreachable(ctx context.Context, path string) string {
	if !a.switched {
		return ""
	}
	var way []string
	for p := path; ; p = filepath.Dir(p) {
		way = append(way, p)
		if p == filepath.Dir(p) {
			break
		}
	}
	for i := len(way) - 1; i >= 0; i-- {
		if _, err := os.Stat(way[i]); err != nil {
			return "" // not made yet: whoever makes it opens it
		}
		if a.command(ctx, "/", "/bin/sh", "-c", `cd -- "$0"`, way[i]).Run() != nil {
			return way[i]
		}
	}
	return ""
}

// detach starts a server in a session of its own, so that neither Ctrl-C nor the end of this process reaches it.
// Its process id is in pidFile before the server's own code runs; its output goes to logFile.
func (a account) detach(ctx context.Context, dir, pidFile, logFile, name string, args ...string) error {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("demo: open server log: %w", err)
	}
	defer out.Close()
	if err := a.own(logFile); err != nil {
		return fmt.Errorf("demo: server log: %w", err)
	}
	if err := os.Remove(pidFile); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("demo: old pid file: %w", err)
	}
	script := `echo $$ >"$0.new" && mv "$0.new" "$0" && exec "$@"`
	line := append([]string{"--fork", "/bin/sh", "-c", script, pidFile, name}, args...)
	cmd := a.command(ctx, dir, "setsid", line...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("demo: start %s: %w", name, err)
	}
	return nil
}

// serverPID returns the process id in pidFile when that process lives and its command line names mark (the data
// folder): a process id alone may belong to a stranger by now. 0 means not running.
func serverPID(pidFile, mark string) int {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 || !alive(pid) {
		return 0
	}
	// A process has no command line for an instant while it changes programs, and while it ends.
	for range 1000 {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || !alive(pid) {
			return 0
		}
		if len(line) > 0 {
			if bytes.Contains(line, []byte(mark)) {
				return pid
			}
			return 0
		}
		time.Sleep(time.Millisecond)
	}
	return 0
}

// alive tells whether the process runs. A process that ended but was never waited for (no init in a container) does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, ok := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')'):]), ") ")
	return ok && !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

// poll calls ready every few milliseconds until it is true or ctx ends, and then returns ctx's error.
func poll(ctx context.Context, ready func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

// logTail is the end of a server's log that tells why it did not start: its last error line.
func logTail(logFile string) string {
	text, err := os.ReadFile(logFile)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i := len(lines) - 1; i >= 0 && i > len(lines)-40; i-- {
		if strings.Contains(lines[i], "FATAL") || strings.Contains(lines[i], "[ERROR]") {
			return lines[i]
		}
	}
	return ""
}
