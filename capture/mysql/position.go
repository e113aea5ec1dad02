package mysql

import (
	"fmt"
	"strconv"
	"strings"
)

// fileNumber is the number that a binlog file's name ends with.
func fileNumber(file string) (uint64, error) {
	_, digits, ok := cutLast(file, '.')
	n, err := strconv.ParseUint(digits, 10, 31)
	if !ok || err != nil {
		return 0, fmt.Errorf("binlog file %q: the name does not end with a number", file)
	}
	return n, nil
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// ordinal is the place of the last byte before end in the log: see M1. An end
// beyond 4 GiB, which only the last transaction of a file can have, counts as
// the file's last place.
func ordinal(file, end uint64) uint64 {
	return file<<32 | min(end-1, 1<<32-1)
}

// place prints an ordinal as file number and offset, for messages.
func place(ordinal uint64) string {
	return fmt.Sprintf("binlog file %06d, offset %d", ordinal>>32, ordinal&(1<<32-1)+1)
}
