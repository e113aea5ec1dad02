package main

import (
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"time"
)

// rewrite makes a sample's row another member's.
type rewrite struct {
	sample                 *Sample
	district               mask // for organizations and providers
	own                    mask // for all keys that are the visit's own
	fromPatient, toPatient string
	fromPayer, toPayer     string
	days                   int // by which times move
}

// row is the row under other keys and times. It is the file's until the next call.
func (w *rewrite) row(o *outFile, cells []string) []string {
	o.row = append(o.row[:0], cells...)
	for i, cell := range cells {
		if cell == "" {
			continue
		}
		switch o.table.kinds[i] {
		case plain:
		case key:
			o.row[i] = w.key(cell)
		case moment:
			o.row[i] = w.moved(cell)
		case refills:
			o.row[i] = strconv.Itoa(refillsOf(cell))
		}
	}
	return o.row
}

func (w *rewrite) key(cell string) string {
	switch {
	case !isKey(cell):
		return cell
	case cell == w.fromPatient:
		return w.toPatient
	case cell == w.fromPayer:
		return w.toPayer
	case w.sample.shared[cell]:
		return w.district.of(cell)
	case w.sample.tables["payers"].has(cell):
		return cell
	}
	return w.own.of(cell)
}

// moved is a time or a date, some days later or earlier.
func (w *rewrite) moved(cell string) string {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, cell); err == nil {
			return t.AddDate(0, 0, w.days).Format(layout)
		}
	}
	return cell
}

func (t *table) has(id string) bool {
	for _, r := range t.rows {
		if r[0] == id {
			return true
		}
	}
	return false
}

// of is the key that the mask makes of a key. One that is no UUID stays.
func (m mask) of(id string) string {
	var b [16]byte
	text := id[:8] + id[9:13] + id[14:18] + id[19:23] + id[24:]
	if _, err := hex.Decode(b[:], []byte(text)); err != nil {
		return id
	}
	for i := range b {
		b[i] ^= byte(m[i/8] >> (8 * (i % 8)))
	}
	return uuidText(b)
}

func newKey(r *rand.Rand) string {
	return mask{r.Uint64(), r.Uint64()}.of("00000000-0000-0000-0000-000000000000")
}

func uuidText(b [16]byte) string {
	var dst [36]byte
	hex.Encode(dst[:8], b[:4])
	hex.Encode(dst[9:13], b[4:6])
	hex.Encode(dst[14:18], b[6:8])
	hex.Encode(dst[19:23], b[8:10])
	hex.Encode(dst[24:], b[10:])
	dst[8], dst[13], dst[18], dst[23] = '-', '-', '-', '-'
	return string(dst[:])
}
