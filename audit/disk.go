package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
)

// file is what the log writes to. Sync returns when what was written is durable,
// the file's length included; a Sync that failed is final.
type file interface {
	WriteAt(p []byte, at int64) (int, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// openFile opens a file for writing, making it if create is set.
func openFile(path string, create bool) (file, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(path, flags, 0o640)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

// writeFile makes a durable file with its content.
func writeFile(path string, mode os.FileMode, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir makes a folder's names durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// lockDir takes the folder for this process, until the file is closed or the
// process ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, &Error{Op: "lock", Err: err}
	}
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		_ = f.Close()
		return nil, &Error{Op: "open " + dir, Err: ErrInUse, Hint: "stop the process that runs on this data folder"}
	case err != nil:
		_ = f.Close()
		return nil, &Error{Op: "lock", Err: err}
	}
	return f, nil
}

var segmentForm = regexp.MustCompile(`^([0-9]{6,9})\.log$`)

func segmentName(n int) string { return fmt.Sprintf("%06d.log", n) }

// listSegments returns the segments' numbers in order.
func listSegments(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, &Error{Op: "read", Err: err}
	}
	var numbers []int
	for _, e := range entries { // sorted by name, and so by number
		if m := segmentForm.FindStringSubmatch(e.Name()); m != nil {
			n, err := strconv.Atoi(m[1])
			if err == nil && segmentName(n) == e.Name() {
				numbers = append(numbers, n)
			}
		}
	}
	return numbers, nil
}
