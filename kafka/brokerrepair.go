package kafka

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// partitionSummary is kfake's snapshot.json: what a partition's files hold. It is
// written on a clean stop. Without a true one a start holds every batch of the
// partition in memory at once.
type partitionSummary struct {
	Version          int              `json:"version"`
	HighWatermark    int64            `json:"high_watermark"`
	LastStableOffset int64            `json:"last_stable_offset"`
	LogStartOffset   int64            `json:"log_start_offset"`
	Epoch            int32            `json:"epoch"`
	LeaderNode       int32            `json:"leader_node,omitempty"`
	MaxTimestamp     int64            `json:"max_timestamp"`
	CreatedAt        time.Time        `json:"created_at"`
	Segments         []segmentSummary `json:"segments"`
}

type segmentSummary struct {
	BaseOffset int64 `json:"base_offset"`
	Size       int64 `json:"size"`
	MinEpoch   int32 `json:"min_epoch,omitempty"`
	MaxEpoch   int32 `json:"max_epoch,omitempty"`
}

// repairLog makes a log that a kill left behind ready to be opened: it reads
// each partition that was not stopped cleanly, cuts off the batch that was being
// written (it was never acknowledged), and writes the summary that a clean stop
// would have. Anything else that is wrong with a file is an error: the broker
// itself would drop what follows it without a word.
func repairLog(dir string) error {
	partitions, err := os.ReadDir(filepath.Join(dir, "partitions"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, p := range partitions {
		if !p.IsDir() {
			continue
		}
		if err := repairPartition(filepath.Join(dir, "partitions", p.Name())); err != nil {
			return fmt.Errorf("partition %s: %w", p.Name(), err)
		}
	}
	return nil
}

func repairPartition(dir string) error {
	bases, err := segmentFiles(dir)
	if err != nil || len(bases) == 0 {
		return err
	}
	path := filepath.Join(dir, "snapshot.json")
	var old partitionSummary
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(text, &old); err != nil {
			return fmt.Errorf("snapshot.json: %w", err)
		}
		if same, err := old.matches(dir, bases); same || err != nil {
			return err
		}
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	now := partitionSummary{Version: 1, LogStartOffset: old.LogStartOffset, MaxTimestamp: -1, CreatedAt: old.CreatedAt}
	for i, base := range bases {
		if err := now.scan(dir, base, i == len(bases)-1); err != nil {
			return err
		}
	}
	if now.HighWatermark < old.HighWatermark {
		return fmt.Errorf("the log ends at offset %d, at the last clean stop it ended at %d: acknowledged records are gone",
			now.HighWatermark, old.HighWatermark)
	}
	now.LastStableOffset = now.HighWatermark // there are no transactions
	return writeSummary(path, now)
}

func segmentFiles(dir string) ([]int64, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var bases []int64
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), ".dat"); ok {
			if base, err := strconv.ParseInt(name, 10, 64); err == nil {
				bases = append(bases, base)
			}
		}
	}
	slices.Sort(bases)
	return bases, nil
}

// matches reports whether the summary is of the files as they are.
func (s *partitionSummary) matches(dir string, bases []int64) (bool, error) {
	if len(s.Segments) != len(bases) {
		return false, nil
	}
	for i, seg := range s.Segments {
		info, err := os.Stat(segmentPath(dir, bases[i]))
		if err != nil {
			return false, err
		}
		if seg.BaseOffset != bases[i] || seg.Size != info.Size() {
			return false, nil
		}
	}
	return true, nil
}

func segmentPath(dir string, base int64) string {
	return filepath.Join(dir, strconv.FormatInt(base, 10)+".dat")
}

// A record batch's head: base offset 8, length 4, leader epoch 4, magic 1, CRC 4,
// then what the CRC covers: attributes 2, last offset delta 4, first timestamp 8,
// max timestamp 8, and so on.
const (
	batchLead = 12 // what length does not count
	batchCRC  = 17
	batchBody = 21
	batchHead = 61
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// scan adds one segment to the summary. In the last one a batch that is not
// whole is cut off, with nothing behind it.
func (s *partitionSummary) scan(dir string, base int64, last bool) error {
	path := segmentPath(dir, base)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // what matters was synced below
	info, err := f.Stat()
	if err != nil {
		return err
	}
	seg := segmentSummary{BaseOffset: base}
	in := bufio.NewReaderSize(f, 1<<20)
	var batch []byte
	for seg.Size < info.Size() {
		batch, err = readBatch(in, batch[:0], info.Size()-seg.Size)
		if errors.Is(err, errTornBatch) && last {
			if err := truncate(f, seg.Size); err != nil {
				return err
			}
			break
		}
		if err != nil {
			return fmt.Errorf("segment %d at byte %d: %w", base, seg.Size, err)
		}
		if err := s.add(&seg, batch); err != nil {
			return fmt.Errorf("segment %d at byte %d: %w", base, seg.Size, err)
		}
		seg.Size += int64(len(batch))
	}
	if seg.Size == 0 && last {
		_ = os.Remove(strings.TrimSuffix(path, ".dat") + ".idx") // it may never have been made
		return os.Remove(path)
	}
	s.Segments = append(s.Segments, seg)
	return nil
}

var errTornBatch = errors.New("the file ends within a batch")

// readBatch reads the next batch; left is how many bytes the file still has.
func readBatch(in *bufio.Reader, batch []byte, left int64) ([]byte, error) {
	lead, err := in.Peek(batchLead)
	if err != nil {
		return nil, errTornBatch
	}
	size := int64(int32(binary.BigEndian.Uint32(lead[8:]))) + batchLead
	if size < batchHead || size > maxRequestBytes {
		// Not even a head's bytes were all written, or none but the file's length.
		if left < batchHead || size == batchLead && zeros(in) {
			return nil, errTornBatch
		}
		return nil, fmt.Errorf("a batch of %d bytes", size)
	}
	if size > left {
		return nil, errTornBatch
	}
	batch = slices.Grow(batch, int(size))[:size]
	if _, err := io.ReadFull(in, batch); err != nil {
		return nil, err
	}
	if crc32.Checksum(batch[batchBody:], castagnoli) != binary.BigEndian.Uint32(batch[batchCRC:]) {
		if size == left { // the last one: its bytes need not have been written in order
			return nil, errTornBatch
		}
		return nil, errors.New("a batch's checksum is wrong")
	}
	return batch, nil
}

// zeros reports whether nothing but zero bytes is left.
func zeros(in *bufio.Reader) bool {
	for {
		switch b, err := in.ReadByte(); {
		case errors.Is(err, io.EOF):
			return true
		case err != nil || b != 0:
			return false
		}
	}
}

// add takes in a batch, which has to follow the ones before.
func (s *partitionSummary) add(seg *segmentSummary, batch []byte) error {
	offset := int64(binary.BigEndian.Uint64(batch))
	if len(s.Segments) == 0 && seg.Size == 0 {
		s.LogStartOffset = max(s.LogStartOffset, offset)
		if s.CreatedAt.IsZero() {
			s.CreatedAt = time.UnixMilli(int64(binary.BigEndian.Uint64(batch[27:])))
		}
	} else if offset != s.HighWatermark {
		return fmt.Errorf("the batch begins at offset %d, due is %d", offset, s.HighWatermark)
	}
	s.HighWatermark = offset + int64(int32(binary.BigEndian.Uint32(batch[23:]))) + 1
	s.MaxTimestamp = max(s.MaxTimestamp, int64(binary.BigEndian.Uint64(batch[35:])))
	return nil
}

func truncate(f *os.File, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Sync()
}

func writeSummary(path string, s partitionSummary) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	temp := path + ".tmp"
	if err := os.WriteFile(temp, text, 0o640); err != nil {
		return err
	}
	return os.Rename(temp, path)
}
