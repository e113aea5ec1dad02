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
