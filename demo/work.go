package demo

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// marker names the file that says a folder is this package's to change and delete.
const marker = ".tributary-demo"

// state is what a start leaves for the next one, in the work folder, readable by its owner only.
type state struct {
	Servers      string `json:"servers"` // folder that holds postgres/ and mariadb/
	PostgresPort int    `json:"postgresPort"`
	MariaDBPort  int    `json:"mariadbPort"`
	PostgresKey  string `json:"postgresPassword"`
	MariaDBKey   string `json:"mariadbPassword"`
}

// errNotOurs is the refusal to touch a folder that this package did not make.
var errNotOurs = errors.New("it holds postgres/ or mariadb/ and no " + marker + " file, so the demo did not make it")

// openWork makes the work folder when there is none and marks it. It refuses a folder with foreign server data.
func openWork(work string) (string, error) {
	work, err := filepath.Abs(work)
	if err != nil {
		return "", fmt.Errorf("demo: work folder: %w", err)
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return "", fmt.Errorf("demo: make work folder: %w", err)
	}
	// One name for one folder, as the kernel has it: processes are recognised by their folder.
	if work, err = filepath.EvalSymlinks(work); err != nil {
		return "", fmt.Errorf("demo: work folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(work, marker)); err == nil {
		return work, nil
	}
	for _, name := range []string{"postgres", "mariadb"} {
		if _, err := os.Lstat(filepath.Join(work, name)); err == nil {
			return "", fmt.Errorf("demo: work folder %s: %w (hint: name another with --work)", work, errNotOurs)
		}
	}
	return work, mark(work)
}

// Made tells whether Start made the folder, or began to: whether what is in it may be deleted.
func Made(work string) (bool, error) {
	_, err := os.Stat(filepath.Join(work, marker))
	if err != nil && !os.IsNotExist(err) {
		return false, fmt.Errorf("demo: work folder: %w", err)
	}
	return err == nil, nil
}

// mark makes dir this package's.
func mark(dir string) error {
	text := "This folder belongs to `tributary demo`, which deletes its servers when it is told to.\n"
	if err := os.WriteFile(filepath.Join(dir, marker), []byte(text), 0o644); err != nil {
		return fmt.Errorf("demo: mark work folder: %w", err)
	}
	return nil
}

// lockWork keeps a second start, stop or removal in the same folder waiting until ctx ends.
func lockWork(ctx context.Context, work string) (unlock func(), err error) {
	f, err := os.Open(filepath.Join(work, marker))
	if err != nil {
		return nil, fmt.Errorf("demo: lock work folder: %w", err)
	}
	err = poll(ctx, func() bool { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil })
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("demo: work folder %s is in use by another start or stop: %w", work, err)
	}
	return func() { f.Close() }, nil
}

// stateFile is where a work folder's state lies.
func stateFile(work string) string { return filepath.Join(work, "servers.json") }

// readState returns the folder's state; a folder without one gives the zero state.
func readState(work string) (state, error) {
	var st state
	text, err := os.ReadFile(stateFile(work))
	if os.IsNotExist(err) {
		return st, nil
	}
	if err != nil {
		return st, fmt.Errorf("demo: read state: %w", err)
	}
	if err := json.Unmarshal(text, &st); err != nil {
		return st, fmt.Errorf("demo: %s is damaged: %w (hint: make demo-clean)", stateFile(work), err)
	}
	return st, nil
}

// writeState replaces the folder's state at once and durably.
func writeState(work string, st state) error {
	text, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return fmt.Errorf("demo: write state: %w", err)
	}
	f, err := os.OpenFile(stateFile(work)+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("demo: write state: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), stateFile(work))
	}
	if err != nil {
		return fmt.Errorf("demo: write state: %w", err)
	}
	return nil
}

// password is a fresh random one.
func password() string {
	var b [18]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand stops the process instead
	return hex.EncodeToString(b[:])
}

// placeServers chooses the folder for the servers' data: the work folder, or, where the packages' users cannot
// enter that (a clone under /root), one of its own below elsewhere, named after the work folder.
func placeServers(ctx context.Context, work, elsewhere string, accounts []account, log func(string)) (string, error) {
	barred := barredFolder(ctx, work, accounts)
	if barred == "" {
		return work, nil
	}
	sum := sha256.Sum256([]byte(work))
	dir := filepath.Join(elsewhere, hex.EncodeToString(sum[:6]))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("demo: the servers' users cannot enter %s, and no other folder can be made: %w (hint: name a folder they can enter with --work)", barred, err)
	}
	for _, d := range []string{elsewhere, dir} { // whatever the umask says
		if err := os.Chmod(d, 0o755); err != nil {
			return "", fmt.Errorf("demo: servers' folder: %w", err)
		}
	}
	if b := barredFolder(ctx, dir, accounts); b != "" {
		return "", fmt.Errorf("demo: the servers' users (postgres, mysql) cannot enter %s, nor %s (hint: `chmod o+x %s`, or name a folder they can enter with --work)", barred, b, barred)
	}
	if entries, err := os.ReadDir(dir); err != nil {
		return "", fmt.Errorf("demo: servers' folder: %w", err)
	} else if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, marker)); err != nil {
			return "", fmt.Errorf("demo: servers' folder %s: %w", dir, errNotOurs)
		}
	}
	log(fmt.Sprintf("the servers' users cannot enter %s: their data goes to %s", barred, dir))
	return dir, mark(dir)
}

// barredFolder is the first folder on the way to dir that one of the accounts may not enter, or "".
func barredFolder(ctx context.Context, dir string, accounts []account) string {
	for _, a := range accounts {
		if b := a.unreachable(ctx, dir); b != "" {
			return b
		}
	}
	return ""
}
