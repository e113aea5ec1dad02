package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// collector takes what a server serves into a folder.
type collector struct {
	client
	out string
	all bool

	types      []string
	operations map[string]bool
	written    map[string]int // files by kind
	spool      *spool
	chosen     []string            // the references of what is to be packed
	members    []string            // ids of all Patients
	examples   map[string][]string // some ids of each type
}

// collect takes everything that its folder is to hold. The folder is of use only
// if it returns nil.
func (c *collector) collect(ctx context.Context) error {
	c.base = strings.TrimSuffix(c.base, "/")
	if err := emptyFolder(c.out); err != nil {
		return err
	}
	c.written, c.examples = map[string]int{}, map[string][]string{}
	var err error
	if c.spool, err = newSpool(); err != nil {
		return err
	}
	defer c.spool.close()
	statement, types, operations, err := c.capabilities(ctx)
	if err != nil {
		return err
	}
	c.types, c.operations = types, operations
	if err := c.write("metadata", statement); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{c.resources, c.documents, c.everything, c.searches, c.histories, c.refusals} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	kinds := make([]string, 0, len(c.written))
	for kind := range c.written {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	fmt.Printf("%d resources served, %d of them packed;", len(c.spool.at), len(c.chosen))
	for _, kind := range kinds {
		fmt.Printf(" %d %s", c.written[kind], kind)
	}
	fmt.Println()
	return nil
}

func emptyFolder(path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	files, err := os.ReadDir(path)
	if err == nil && len(files) > 0 {
		err = fmt.Errorf("%s is not empty", path)
	}
	return err
}

func (c *collector) write(kind string, body []byte) error {
	c.written[kind]++
	return os.WriteFile(filepath.Join(c.out, fmt.Sprintf("%s-%05d.json", kind, c.written[kind])), body, 0o644)
}

// resources reads every resource of every type, and packs one of each shape, or
// all.
func (c *collector) resources(ctx context.Context) error {
	seen := shapes{}
	for _, typ := range c.types {
		err := c.pages(ctx, "/"+typ+"?_count=1000", func(_ []byte, b *bundle) (bool, error) {
			for _, e := range b.Entry {
				r, s, err := describe(e)
				if err != nil {
					return false, err
				}
				c.note(typ, r.ref)
				if seen.take(s) || c.all {
					c.chosen = append(c.chosen, r.ref)
				}
				if err := c.spool.add(r); err != nil {
					return false, err
				}
			}
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	if len(c.members) == 0 {
		return errors.New("the server serves no Patient")
	}
	slices.SortFunc(c.chosen, func(a, b string) int { return byMember(c.spool.at[a].resource, c.spool.at[b].resource) })
	return pack(c.chosen, c.spool.get, func(b []byte) error { return c.write("resources", b) })
}

func (c *collector) note(typ, ref string) {
	id := strings.TrimPrefix(ref, typ+"/")
	if typ == "Patient" {
		c.members = append(c.members, id)
	}
	if len(c.examples[typ]) < 3 || typ == "Composition" {
		c.examples[typ] = append(c.examples[typ], id)
	}
}

// documents takes each member's medication profile; with all, the document of
// each Composition too.
func (c *collector) documents(ctx context.Context) error {
	if c.operations["Patient/$medication-profile"] {
		for _, id := range c.members {
			if err := c.take(ctx, "document", "/Patient/"+id+"/$medication-profile"); err != nil {
				return err
			}
		}
	}
	if !c.operations["Composition/$document"] {
		return nil
	}
	ids := c.examples["Composition"]
	if !c.all && len(ids) > 1 {
		ids = ids[:1]
	}
	for _, id := range ids {
		if err := c.take(ctx, "document", "/Composition/"+id+"/$document"); err != nil {
			return err
		}
	}
	return nil
}

// perPage keeps the validator's time for a page short: it grows faster than the
// page.
const perPage = 100

// everything takes the pages of each member's $everything: the first and the
// last, or all.
func (c *collector) everything(ctx context.Context) error {
	if !c.operations["Patient/$everything"] {
		fmt.Println("the server has no Patient/$everything")
		return nil
	}
	for _, id := range c.members {
		var last []byte
		n := 0
		err := c.pages(ctx, fmt.Sprintf("/Patient/%s/$everything?_count=%d", id, perPage), func(body []byte, _ *bundle) (bool, error) {
			if n++; c.all || n == 1 {
				return true, c.write("everything", body)
			}
			last = body
			return true, nil
		})
		if err == nil && last != nil {
			err = c.write("everything", last)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// searches takes a page of each type with what its resources refer to, and with
// what refers to them where that is asked for.
func (c *collector) searches(ctx context.Context) error {
	for _, typ := range c.types {
		err := c.pages(ctx, "/"+typ+"?_count=25&_include=*", func(body []byte, _ *bundle) (bool, error) {
			return c.all, c.write("search", body)
		})
		if err != nil {
			return err
		}
		if err := c.take(ctx, "search", "/"+typ+"?_summary=count"); err != nil {
			return err
		}
	}
	return nil
}

// histories takes the history of a few resources of each type.
func (c *collector) histories(ctx context.Context) error {
	for _, typ := range c.types {
		for _, id := range c.examples[typ][:min(1, len(c.examples[typ]))] {
			if err := c.take(ctx, "history", "/"+typ+"/"+id+"/_history"); err != nil {
				return err
			}
		}
	}
	if c.operations["Patient/$medication-profile"] {
		return c.take(ctx, "metadata", "/OperationDefinition/medication-profile")
	}
	return nil
}

// refusals takes what the server answers to what it refuses.
func (c *collector) refusals(ctx context.Context) error {
	for _, path := range []string{"/Nothing", "/Patient/nobody", "/Patient?birthdate=never", "/Patient?_page=x"} {
		_, err := c.get(ctx, path)
		var refused *statusError
		if !errors.As(err, &refused) || refused.status >= http.StatusInternalServerError {
			return fmt.Errorf("GET %s: want a refusal, got %w", path, err)
		}
		if err := c.write("refusal", refused.body); err != nil {
			return err
		}
	}
	return nil
}

// take writes one answer as it was sent.
func (c *collector) take(ctx context.Context, kind, path string) error {
	body, err := c.get(ctx, path)
	if err != nil {
		return err
	}
	return c.write(kind, body)
}

// spool keeps the bodies of all resources in a file: a whole population's do not
// fit into memory beside a validator.
type spool struct {
	file *os.File
	w    *bufio.Writer
	end  int64
	at   map[string]spooled
}

type spooled struct {
	resource // without its body
	from     int64
	size     int
}

func newSpool() (*spool, error) {
	f, err := os.CreateTemp("", "tributary-validate-")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(f.Name()) // gone with the process
	return &spool{file: f, w: bufio.NewWriterSize(f, 1<<20), at: map[string]spooled{}}, nil
}

func (s *spool) close() { _ = s.file.Close() }

func (s *spool) add(r resource) error {
	if _, again := s.at[r.ref]; again {
		return fmt.Errorf("%s is in two places of the same search", r.ref)
	}
	size := len(r.body)
	if _, err := s.w.Write(r.body); err != nil {
		return err
	}
	r.body = nil
	s.at[r.ref] = spooled{r, s.end, size}
	s.end += int64(size)
	return nil
}

// get returns what add was given; ok is false for anything else.
func (s *spool) get(ref string) (r resource, ok bool, err error) {
	at, ok := s.at[ref]
	if !ok {
		return r, false, nil
	}
	if err := s.w.Flush(); err != nil {
		return r, false, err
	}
	r = at.resource
	r.body = make([]byte, at.size)
	_, err = s.file.ReadAt(r.body, at.from)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return r, err == nil, err
}
