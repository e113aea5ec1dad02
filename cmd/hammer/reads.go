package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tributary-health/tributary/compose/mapping"
	"github.com/tributary-health/tributary/mappings"
)

// ids are the resource ids of a store.
type ids struct {
	set  *mapping.Set
	root *mapping.Resource
}

func newIDs(keyFile string) (*ids, error) {
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	set, problems := mapping.Load(mappings.FS, mapping.Options{IDKey: key})
	if len(problems) > 0 {
		return nil, errors.New("the sample's mappings have faults")
	}
	for _, r := range set.Resources() {
		if r.From == set.Root().Table && r.Type == "Patient" {
			return &ids{set, r}, nil
		}
	}
	return nil, errors.New("no mapping makes a Patient of the members' own rows")
}

func (i *ids) patient(member string) string {
	return i.set.ResourceID(i.root.Type, i.root.From, i.root.Name, member)
}

// The reads that are measured. %s is the member's id, or a resource's address.
var readKinds = []struct{ name, form, from string }{
	{"read", "%s", "MedicationRequest?patient=%s&_count=5"},
	{"search orders", "MedicationRequest?patient=%s&_count=20", ""},
	{"search vital signs", "Observation?patient=%s&category=vital-signs&date=ge2020-01-01&_sort=-date", ""},
	{"search claims", "ExplanationOfBenefit?patient=%s&_count=20", ""},
	{"profile", "Patient/%s/$medication-profile", ""},
	{"who is it", "Patient?identifier=%s", "Patient/%s"},
}

// shared is the number of members that every size has: the first ones.
const shared = 1000

// reads measures every kind twice: over members that all sizes have, where only
// the rest of the store differs, and over all.
func (l *lab) reads(ctx context.Context) error {
	for _, among := range []int{min(shared, len(l.made.Members)), len(l.made.Members)} {
		for k, kind := range readKinds {
			r := dice(uint64(k))
			addresses, err := l.addresses(ctx, r, kind.form, kind.from, among)
			if err != nil {
				return fmt.Errorf("%s: %w", kind.name, err)
			}
			got, err := l.hit(ctx, addresses)
			if err != nil {
				return fmt.Errorf("%s: %w", kind.name, err)
			}
			got.Name, got.Among = kind.name, "the same members"
			if among == len(l.made.Members) && k < len(l.size.Reads) {
				got.Among = "all members"
			}
			l.size.Reads = append(l.size.Reads, got)
			say("%s, %s: %.0f/s, %.2f ms, %.2f ms (p99), %.0f us of CPU", got.Name, got.Among, got.Rate, got.P50, got.P99, got.CPU)
		}
	}
	return nil
}

// distinct is how many addresses of a kind are asked for.
const distinct = 1000

// addresses are those of members drawn by the length of their records.
func (l *lab) addresses(ctx context.Context, r *rand.Rand, form, from string, among int) ([]string, error) {
	var all []string
	for try := 0; len(all) < distinct && try < 20*distinct; try++ {
		id := l.ids.patient(l.made.pick(r, among).ID)
		if from == "" {
			all = append(all, fmt.Sprintf(form, id))
			continue
		}
		found, err := l.lookUp(ctx, fmt.Sprintf(from, id))
		if err != nil {
			return nil, err
		}
		if found != "" {
			all = append(all, fmt.Sprintf(form, found))
		}
	}
	if len(all) == 0 {
		return nil, errors.New("nothing to ask for")
	}
	return all, nil
}

// lookUp asks for a resource or a page of them, and returns an identifier of the
// one, or the address of the last of the others.
func (l *lab) lookUp(ctx context.Context, path string) (string, error) {
	code, body, err := l.process.get(ctx, l.process.env["FHIR"]+"/"+path, l.process.env["PROVIDER_KEY"])
	if err != nil || code != http.StatusOK {
		return "", errors.Join(err, fmt.Errorf("the server answered %d", code))
	}
	var answer struct {
		Identifier []struct{ System, Value string }
		Entry      []struct {
			Resource struct{ ResourceType, ID string }
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", err
	}
	if n := len(answer.Identifier); n > 0 {
		return url.QueryEscape(answer.Identifier[n-1].System + "|" + answer.Identifier[n-1].Value), nil
	}
	if n := len(answer.Entry); n > 0 {
		return answer.Entry[n-1].Resource.ResourceType + "/" + answer.Entry[n-1].Resource.ID, nil
	}
	return "", nil
}

// hit asks for the addresses in turn over some connections for some seconds, after a
// tenth of that for practice.
func (l *lab) hit(ctx context.Context, addresses []string) (Read, error) {
	if _, err := l.hits(ctx, addresses, time.Duration(l.seconds*float64(time.Second))/10); err != nil {
		return Read{}, err
	}
	before, err := l.process.metrics(ctx)
	if err != nil {
		return Read{}, err
	}
	began := time.Now()
	took, err := l.hits(ctx, addresses, time.Duration(l.seconds*float64(time.Second)))
	if err != nil {
		return Read{}, err
	}
	seconds := time.Since(began).Seconds()
	after, err := l.process.metrics(ctx)
	slices.Sort(took)
	return Read{Rate: float64(len(took)) / seconds, P50: millis(took, 0.5), P99: millis(took, 0.99),
		CPU: 1e6 * (after[cpuSeconds] - before[cpuSeconds]) / float64(len(took))}, err
}

func (l *lab) hits(ctx context.Context, addresses []string, length time.Duration) ([]time.Duration, error) {
	end := time.Now().Add(length)
	results := make([][]time.Duration, l.connections)
	var g errgroup.Group
	for i := range results {
		g.Go(func() error {
			for n := i; ; n += l.connections {
				start := time.Now()
				if start.After(end) && len(results[i]) > 0 {
					return nil
				}
				code, _, err := l.process.get(ctx, l.process.env["FHIR"]+"/"+addresses[n%len(addresses)], l.process.env["PROVIDER_KEY"])
				if err != nil || code != http.StatusOK {
					return errors.Join(err, fmt.Errorf("the server answered %d", code))
				}
				results[i] = append(results[i], time.Since(start))
			}
		})
	}
	err := g.Wait()
	return slices.Concat(results...), err
}

// millis is a quantile of sorted times.
func millis(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Microseconds()) / 1000
}
