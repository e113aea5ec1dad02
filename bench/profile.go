package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime/pprof"
)

// profiled runs fn, under the CPU profiler when a folder for profiles was named
// and this is the last turn.
func (l *lab) profiled(name string, turn int, fn func() error) error {
	if l.profile == "" || turn != l.turns-1 {
		return fn()
	}
	if err := os.MkdirAll(l.profile, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(l.profile, name+".pprof"))
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	err = fn()
	pprof.StopCPUProfile()
	return errors.Join(err, f.Close())
}
