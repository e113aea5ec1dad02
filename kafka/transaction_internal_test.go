package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A record that was written before the place where its partition ended says that
// the partition lost its tail.
func TestTransactionLostTail(t *testing.T) {
	ends, sure := []int64{7, 5}, []bool{true, false}
	sound := &transaction{ends: ends, sure: sure}
	for partition, offset := range map[int32]int64{0: 9, 1: 5} { // between transactions lie markers
		sound.put(&kgo.Record{Partition: partition, Offset: offset}, nil)
	}
	if err := sound.failure(); err != nil {
		t.Fatal(err)
	}
	sound.settle()
	if ends[0] != 10 || ends[1] != 6 || !sure[1] {
		t.Errorf("ends %v, want 10 and 6; sure %v", ends, sure)
	}
	lost := &transaction{ends: ends, sure: sure}
	lost.put(&kgo.Record{Partition: 1, Offset: 5}, nil)
	if lost.failure() == nil {
		t.Error("offset 5 of a partition that held 6 was taken")
	}
}

// The first record behind a claim that does not lie where the partition was said
// to end says that a broker said so which leads it no longer.
func TestTransactionUnknownTail(t *testing.T) {
	ends, sure := []int64{7, 7}, []bool{false, false}
	tx := &transaction{ends: ends, sure: sure}
	for _, offset := range []int64{7, 9} { // the second has others of its transaction before it
		tx.put(&kgo.Record{Partition: 0, Offset: offset}, nil)
	}
	if err := tx.failure(); err != nil {
		t.Fatal(err)
	}
	tx.put(&kgo.Record{Partition: 1, Offset: 8}, nil)
	if tx.failure() == nil {
		t.Error("offset 8 of a partition that was said to end at 7 was taken")
	}
}
