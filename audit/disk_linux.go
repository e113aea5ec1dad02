package audit

import (
	"os"
	"syscall"
)

// diskFile syncs content and length, and leaves the times of the file to the
// system.
type diskFile struct{ *os.File }

func (f diskFile) Sync() error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// keepSize is FALLOC_FL_KEEP_SIZE.
const keepSize = 1

// reserve takes room on the disk for what will be written from an offset on. The
// file does not grow by it, so that its end still is the log's.
func (f diskFile) reserve(from, bytes int64) error {
	return os.NewSyscallError("fallocate", syscall.Fallocate(int(f.Fd()), keepSize, from, bytes))
}
