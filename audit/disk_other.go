//go:build !linux

package audit

import "os"

type diskFile struct{ *os.File }
