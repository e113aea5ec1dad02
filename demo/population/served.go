package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// A side is one of the two that are compared: its records by type.
type side struct {
	records map[string][]*record
}

// types are what is asked for.
var types = []string{"Patient", "Organization", "Location", "Practitioner", "PractitionerRole", "Coverage", "Encounter", "Condition",
	"AllergyIntolerance", "Immunization", "Procedure", "Observation", "MedicationRequest", "MedicationDispense", "ExplanationOfBenefit"}

// readServed reads every resource of a server.
func readServed(ctx context.Context, base, key string) (*side, error) {
	s := &side{records: map[string][]*record{}}
	base = strings.TrimSuffix(base, "/")
	row := map[string]string{} // "Type/id": the key of the row that it was made of
	for _, typ := range types {
		for next := base + "/" + typ + "?_count=1000"; next != ""; {
			page, err := fetch(ctx, next, key)
			if err != nil {
				return nil, err
			}
			for _, e := range list(page["entry"]) {
				top := object(object(e)["resource"])
				r := newRecord(top)
				if typ == "ExplanationOfBenefit" {
					r.facts = servedClaim(r)
				}
				row[typ+"/"+r.id] = rowKey(r)
				s.records[typ] = append(s.records[typ], r)
			}
			next = ""
			for _, l := range list(page["link"]) {
				if o := object(l); o["relation"] == "next" {
					next = str(o["url"])
				}
			}
		}
	}
	if len(s.records["Patient"]) == 0 {
		return nil, fmt.Errorf("%s serves no Patient", base)
	}
	s.resolve(func(ref string) string {
		if key, ok := row[ref]; ok {
			return key
		}
		return "nowhere: " + ref
	})
	return s, nil
}

// rowKey is the source's key among a resource's identifiers.
func rowKey(r *record) string {
	for system, value := range r.rows {
		switch strings.TrimPrefix(system, "urn:tributary:sample:") {
		case system, "member-number", "claim-number":
		default:
			return value
		}
	}
	return ""
}

// resolve puts the source's key in the place of every reference.
func (s *side) resolve(find func(ref string) string) {
	for _, all := range s.records {
		for _, r := range all {
			for i, f := range r.facts {
				if ref, ok := strings.CutPrefix(f.value, "@"); ok {
					r.facts[i].value = find(ref)
				}
			}
			r.sort()
		}
	}
}

func fetch(ctx context.Context, url, key string) (map[string]any, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/fhir+json")
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return decode(bytes.NewReader(body))
}

// decode reads one JSON object, numbers digit for digit.
func decode(from io.Reader) (map[string]any, error) {
	d := json.NewDecoder(from)
	d.UseNumber()
	var top map[string]any
	err := d.Decode(&top)
	return top, err
}
