package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tributary-health/tributary/commit"
	"github.com/tributary-health/tributary/compose"
	"github.com/tributary-health/tributary/demo"
	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/publish"
	"github.com/tributary-health/tributary/store"
	"github.com/tributary-health/tributary/store/pebble"
)

// What --announce may say.
const (
	announceNothing    = "nothing"
	announceDifference = "difference"
)

// rebuildFolder is where in the data folder a store is made again.
const rebuildFolder = "store.rebuild"

// rebuild makes the store again beside the present one, if there is one, and
// says what it would announce.
func (r *replay) rebuild(ctx context.Context) error {
	present := filepath.Join(r.cfg.Data, "store")
	aside, err := r.aside(present)
	if err != nil {
		return err
	}
	past, err := r.announcedPast(ctx)
	if err != nil {
		return err
	}
	dir := filepath.Join(r.cfg.Data, rebuildFolder)
	if err := r.openRebuilt(dir, past); err != nil {
		return err
	}
	if err := r.carry(ctx, r.store, past); err != nil {
		return err
	}
	differs, err := r.toAnnounce(past)
	if err != nil {
		return err
	}
	if r.options.announce == "" {
		fmt.Printf("replay: the store is built again in %s, and announced nothing. To put it in place, and have the next start announce that difference, or nothing:\n"+
			"  tributary replay --rebuild --config %s --announce difference\n  tributary replay --rebuild --config %s --announce nothing\n",
			dir, shellQuote(r.options.config), shellQuote(r.options.config))
		if differs {
			return errReported
		}
		return nil
	}
	return r.adopt(present, dir, aside, past)
}

// aside is where the present store is moved to; "" if there is none.
func (r *replay) aside(present string) (string, error) {
	if _, err := os.Stat(present); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	db, err := r.openStore(present)
	if errors.Is(err, store.ErrLocked) {
		return "", err
	}
	if err == nil {
		return present + "." + db.Generation(), db.Close()
	}
	fmt.Println("the present store cannot be opened:", err)
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s.damaged-%d", present, n)
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
	}
}

// openRebuilt opens the store that is built. One that was begun when the topic
// stood elsewhere, or with other mappings, is begun anew: its numbers may mean
// other versions than the topic's.
func (r *replay) openRebuilt(dir string, past *continuation) error {
	const name = "rebuild"
	of, err := json.Marshal(struct {
		Past     *continuation `json:"past"`
		Mappings string        `json:"mappings"`
	}{past, r.set.Version()})
	if err != nil {
		return err
	}
	for {
		if r.store, err = r.openStore(dir); err != nil {
			return err
		}
		noted, err := r.store.Noted(name)
		switch {
		case err != nil:
			return err
		case bytes.Equal(noted, of):
			return nil
		case noted == nil && r.store.Frontier().Number == 0:
			return r.store.Note(name, of)
		}
		fmt.Printf("%s was built when %s ended elsewhere, or with other mappings: building it anew\n", dir, changeTopicName)
		err = r.store.Close()
		r.store = nil
		if err != nil {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
}

// carry builds a store from the landing topics and the change topic, as far as
// past says.
func (r *replay) carry(ctx context.Context, into *pebble.DB, past *continuation) error {
	feeds, err := r.feeds(ctx, into.Frontier().Offsets)
	if err != nil {
		return err
	}
	changes, err := r.openChanges(ctx)
	if err != nil {
		return err
	}
	changes.limit = past.Last
	spill, err := os.MkdirTemp(r.cfg.Data, "spill-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(spill)
	bars := demo.NewBars(os.Stderr)
	bars.Unit = "records"
	defer bars.Finish()
	done := int64(0)
	return compose.Rebuild(ctx, compose.RebuildConfig{
		Config: r.composing(into, spill, bars), Feeds: feeds, Changes: changes, Last: past.Last,
		Progress: func(*compose.Announced) {
			done++
			bars.Set("versions carried", done, changes.total)
		},
	})
}

// continuation is what a rebuilt store notes of the change topic that it goes on
// with: the records of other generations, up to Last in each partition, are its
// own past, and what it announces comes after From. Commit is the last number
// that the rebuild wrote.
type continuation struct {
	Commit     commit.Number `json:"commit"`
	Generation []string      `json:"generation"` // of each partition's last record
	Last       []uint64      `json:"last"`
	From       []uint64      `json:"from"`
}

// noteContinuation is the note's name in the store.
const noteContinuation = "continues"

// announcedPast is where the topic stands. On a real Kafka whoever still writes
// it is shut out, and what was left open is decided first.
func (r *replay) announcedPast(ctx context.Context) (*continuation, error) {
	topic, err := r.openTopic(ctx, r.cfg.Kafka.topic(changeTopicName, r.cfg.Partitions))
	if err != nil {
		return nil, err
	}
	defer topic.Close()
	c := &continuation{}
	for p := range r.cfg.Partitions {
		number, _, err := topic.Last(ctx, p)
		if err != nil {
			return nil, err
		}
		generation, err := topic.(publish.Generations).Generation(ctx, p)
		if err != nil {
			return nil, err
		}
		c.Last, c.Generation = append(c.Last, number), append(c.Generation, generation)
	}
	return c, nil
}

// toAnnounce prints what lies in the outbox behind the topic's end, and reports
// whether anything does.
func (r *replay) toAnnounce(past *continuation) (bool, error) {
	view, err := r.store.At(0)
	if err != nil {
		return false, err
	}
	defer view.Close()
	a := newAccount(r.options.limit)
	total := 0
	for p, last := range past.Last {
		err := r.store.Announcements(int32(p), last, func(_ uint64, n commit.Announcement) bool {
			total++
			v := n.Version.Version
			now, old := history{v.ResourceID, []fhir.Version{v}}, history{id: v.ResourceID}
			if was, ok, failed := view.VRead(v.ResourceID, v.Number-1); failed != nil {
				err = failed
			} else if ok {
				old.versions = []fhir.Version{was}
			}
			a.pair(old, now)
			return err == nil
		})
		if err != nil {
			return false, err
		}
	}
	fmt.Printf("rebuilt up to commit %d; %s ends at %v\n", r.store.Frontier().Number, changeTopicName, past.Last)
	if total > 0 {
		a.print(false)
	}
	fmt.Printf("replay: %d versions differ from what was announced last\n", total)
	return total > 0, nil
}

// adopt puts the rebuilt store in place. It may be cut off anywhere and done
// again.
func (r *replay) adopt(present, dir, aside string, past *continuation) error {
	for p, last := range past.Last {
		from := last
		if r.options.announce == announceNothing {
			if outbox := r.store.Frontier().Outbox; p < len(outbox) {
				from = outbox[p]
			}
		}
		past.From = append(past.From, from)
	}
	past.Commit = r.store.Frontier().Number
	note, err := json.Marshal(past)
	if err != nil {
		return err
	}
	if err := r.store.Note(noteContinuation, note); err != nil {
		return err
	}
	err = r.store.Close()
	r.store = nil
	if err != nil {
		return err
	}
	if aside != "" {
		if err := os.Rename(present, aside); err != nil {
			return err
		}
		fmt.Println("the former store is now", aside)
	}
	if err := os.Rename(dir, present); err != nil {
		return err
	}
	folder, err := os.Open(r.cfg.Data)
	if err != nil {
		return err
	}
	err = errors.Join(folder.Sync(), folder.Close())
	fmt.Printf("replay: the rebuilt store is in place; the next start announces %s\n", map[string]string{
		announceNothing: "nothing of the above", announceDifference: "the above"}[r.options.announce])
	return err
}

// continuationOf reads what a store notes of its past; nil if it was never rebuilt.
func continuationOf(db *pebble.DB) (*continuation, error) {
	note, err := db.Noted(noteContinuation)
	if err != nil || note == nil {
		return nil, err
	}
	c := &continuation{}
	if err := json.Unmarshal(note, c); err != nil {
		return nil, fmt.Errorf("store: read what it continues: %w", err)
	}
	return c, nil
}

// continued is a change topic whose past another store has written: that of the
// store which this one was rebuilt for.
type continued struct {
	publishTopic
	past continuation
	own  string
}

// Last implements publish.Topic. Where nothing of this store's was announced
// yet, it says where that begins.
func (t continued) Last(ctx context.Context, partition int32) (number uint64, end int64, err error) {
	number, end, err = t.publishTopic.Last(ctx, partition)
	if err != nil {
		return 0, 0, err
	}
	generation, err := t.generation(ctx, partition)
	if err != nil || !t.old(partition, generation) {
		return number, end, err
	}
	if last := t.past.Last[partition]; number != last {
		return 0, 0, fmt.Errorf("%w: generation %q, from whose records up to number %d this store was rebuilt, has gone on to number %d: end the process that writes them",
			publish.ErrGeneration, generation, last, number)
	}
	return t.past.From[partition], end, nil
}

// Generation implements publish.Generations.
func (t continued) Generation(ctx context.Context, partition int32) (string, error) {
	generation, err := t.generation(ctx, partition)
	if err == nil && t.old(partition, generation) {
		generation = t.own
	}
	return generation, err
}

func (t continued) generation(ctx context.Context, partition int32) (string, error) {
	return t.publishTopic.(publish.Generations).Generation(ctx, partition)
}

// old reports whether a partition that ends with the generation's record ends
// with the past that was taken over.
func (t continued) old(partition int32, generation string) bool {
	return int(partition) < len(t.past.Generation) && generation == t.past.Generation[partition]
}

// continuedWhole is the same over a topic that is written in transactions.
type continuedWhole struct {
	continued
	publish.Transactional
}

func (t continuedWhole) Append(ctx context.Context, partition int32, records []publish.Record) error {
	return t.continued.Append(ctx, partition, records)
}

func (t continuedWhole) Last(ctx context.Context, partition int32) (uint64, int64, error) {
	return t.continued.Last(ctx, partition)
}

// continueTopic has a rebuilt store go on behind what was announced before it,
// and refuses a store that lost what was announced.
func (p *pipeline) continueTopic(ctx context.Context, topic publishTopic) (publishTopic, error) {
	past, err := continuationOf(p.store)
	if err != nil {
		return topic, err
	}
	if past != nil {
		c := continued{publishTopic: topic, past: *past, own: p.store.Generation()}
		if whole, ok := topic.(publish.Transactional); ok {
			return continuedWhole{c, whole}, nil
		}
		return c, nil
	}
	if p.store.Frontier().Number > 0 {
		return topic, nil
	}
	for partition := range p.cfg.Partitions {
		generation, err := topic.(publish.Generations).Generation(ctx, partition)
		if err != nil {
			return topic, err
		}
		if generation != "" {
			return topic, fmt.Errorf("%w: the store is empty, but %s holds what another has announced: it was lost (build it again from the log: tributary replay --rebuild)",
				publish.ErrGeneration, changeTopicName)
		}
	}
	return topic, nil
}

// rebuildHint completes what stops the publisher by the command that mends it.
func rebuildHint(err error) error {
	if errors.Is(err, publish.ErrGeneration) || errors.Is(err, publish.ErrAhead) {
		return fmt.Errorf("%w (make the store anew from log and topic: tributary replay --rebuild)", err)
	}
	return err
}

var _ compose.Order = (*pebble.DB)(nil)
