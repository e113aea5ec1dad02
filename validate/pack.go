package main

import (
	"bytes"
	"encoding/json"
)

// perBundle is how many resources go into one Bundle: enough that the validator's
// start for each counts little, and few enough that its time stays linear.
const perBundle = 50

// pack puts resources into collection Bundles, each resource with those that it
// refers to, and hands the Bundles to write. find gets what was served under a
// reference. A Bundle holds no resource twice.
func pack(list []string, find func(ref string) (resource, bool, error), write func(bundle []byte) error) error {
	var open []resource
	in := map[string]bool{}
	flush := func() error {
		if len(open) == 0 {
			return nil
		}
		err := write(encodeBundle(open))
		open, in = nil, map[string]bool{}
		return err
	}
	for _, ref := range list {
		group, err := withReferred(ref, find)
		if err != nil {
			return err
		}
		missing := 0
		for _, g := range group {
			if !in[g.ref] {
				missing++
			}
		}
		if len(open)+missing > perBundle {
			if err := flush(); err != nil {
				return err
			}
		}
		for _, g := range group {
			if !in[g.ref] {
				in[g.ref] = true
				open = append(open, g)
			}
		}
	}
	return flush()
}

// withReferred is a resource and what it refers to, as much as fits into a
// Bundle: what refers to more is the index of a document, and comes as a document.
func withReferred(ref string, find func(ref string) (resource, bool, error)) ([]resource, error) {
	r, _, err := find(ref)
	group := []resource{r}
	for _, to := range r.refers {
		if to == ref || len(group) == perBundle {
			continue
		}
		other, ok, err := find(to)
		if err != nil {
			return nil, err
		}
		if ok {
			group = append(group, other)
		}
	}
	return group, err
}

func encodeBundle(list []resource) []byte {
	var b bytes.Buffer
	b.WriteString(`{"resourceType":"Bundle","type":"collection","entry":[`)
	for i, r := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		url, _ := json.Marshal(r.fullURL) // a string always marshals
		b.WriteString("\n{\"fullUrl\":")
		b.Write(url)
		b.WriteString(`,"resource":`)
		b.Write(r.body)
		b.WriteByte('}')
	}
	b.WriteString("]}\n")
	return b.Bytes()
}
