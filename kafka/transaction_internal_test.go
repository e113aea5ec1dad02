package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A record that was written before the place where its partition ended says that
// the partition lost its tail.
func TestTransactionLostTail(t *testing.T) {
	ends := []int64{7, 5}
	sound := &transaction{ends: ends}
	for partition, offset := range map[int32]int64{0: 9, 1: 5} {
		sound.put(&kgo.Record{Partition: partition, Offset: offset}, nil)
	}
	if err := sound.failure(); err != nil {
		t.Fatal(err)
	}
	sound.settle()
	if ends[0] != 10 || ends[1] != 6 {
		t.Errorf("ends %v, want 10 and 6", ends)
	}
	lost := &transaction{ends: ends}
	lost.put(&kgo.Record{Partition: 1, Offset: 5}, nil)
	if lost.failure() == nil {
		t.Error("offset 5 of a partition that held 6 was taken")
	}
}
