package api

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tributary-health/tributary/fhir"
)

// document answers with a Composition and all it names, read at one commit
// number.
func (s *server) document(r *request) (answer, error) {
	id, err := r.documentID("Composition")
	if err != nil {
		return answer{}, err
	}
	view, err := r.open(0)
	if err != nil {
		return answer{}, err
	}
	composition, err := current(view, id)
	if err != nil {
		return answer{}, err
	}
	return r.documentAnswer(view, composition)
}

// medicationProfile answers with the document of the member's newest medication
// profile.
func (s *server) medicationProfile(r *request) (answer, error) {
	id, err := r.documentID("Patient")
	if err != nil {
		return answer{}, err
	}
	if err := r.mayRead("Composition"); err != nil {
		return answer{}, err
	}
	view, err := r.open(0)
	if err != nil {
		return answer{}, err
	}
	patient, err := current(view, id)
	if err != nil {
		return answer{}, err
	}
	newest, ok, err := newestOf(view, id.ID, medicationProfileType)
	if err != nil {
		return answer{}, err
	}
	if !ok {
		return answer{}, problem{status: http.StatusNotFound, code: "not-found", text: "the member has no medication profile",
			shows: &disclosure{members: []string{patient.Member}, reason: "no-profile"}}
	}
	composition, err := current(view, newest)
	if err != nil {
		return answer{}, err
	}
	return r.documentAnswer(view, composition)
}

// medicationProfileType is what makes a Composition a medication profile.
const medicationProfileType = "http://loinc.org|56445-0"

// documentID is resourceID for a path that names its type.
func (r *request) documentID(typ string) (fhir.ResourceID, error) {
	id := fhir.ResourceID{Type: typ, ID: r.c.Param("id")}
	if !r.types[typ] || !fhir.ValidID(id.ID) {
		return id, notFound
	}
	if r.c.Request.URL.RawQuery != "" {
		pairs, err := r.queryPairs()
		if err != nil {
			return id, err
		}
		for _, p := range pairs {
			if p.name != "_format" && p.name != "_pretty" {
				return id, badParameter(p.name, "the operation has no such parameter")
			}
		}
	}
	return id, r.mayRead(typ)
}

// newestOf finds the member's Composition of the type with the latest date, then
// the latest update.
func newestOf(view View, member, typ string) (id fhir.ResourceID, ok bool, err error) {
	ofType, err := fhir.ParseCriterion("Composition", "type", typ, "")
	if err != nil {
		return id, false, err
	}
	var first []byte
	err = view.Scan("Composition", member, false, member, "", func(v fhir.Version) bool {
		if !ofType.Match(v) {
			return true
		}
		key, _ := fhir.SortKey(nil, v, "date", true)
		key, _ = fhir.SortKey(key, v, "_lastUpdated", true)
		if !ok || string(key) < string(first) {
			id, first, ok = v.ResourceID, key, true
		}
		return true
	})
	if err != nil {
		return id, false, fmt.Errorf("api: find the medication profile: %w", err)
	}
	return id, ok, nil
}

// documentAnswer is the document Bundle. What the Composition names and
// the view does not have makes it fail: a profile with a silent hole would be
// read as whole.
func (r *request) documentAnswer(view View, composition fhir.Version) (answer, error) {
	ids := documentOrder(composition.Body)
	versions := make([]fhir.Version, 1, len(ids)+1)
	versions[0] = composition
	for _, id := range ids {
		if id == composition.ResourceID {
			continue
		}
		if err := r.mayRead(id.Type); err != nil {
			return answer{}, err
		}
		v, ok, err := view.Read(id)
		if err == nil && (!ok || v.Deleted) {
			err = fmt.Errorf("it is not there")
		}
		if err != nil {
			return answer{}, fmt.Errorf("api: document: an entry of type %s: %w", id.Type, err)
		}
		versions = append(versions, v)
	}
	b := r.newBundle("document")
	b.text(`,"identifier":{"system":"urn:ietf:rfc:3986","value":"urn:uuid:`, documentUUID(versions), `"}`)
	b.text(`,"timestamp":"`, instant(composition.Updated), `"`)
	for _, v := range versions {
		b.documentEntry(v)
	}
	return b.answer(), nil
}

// documentOrder lists what a Composition names, each once: subject, author, then
// the rest in the order of the text.
func documentOrder(composition []byte) []fhir.ResourceID {
	var subject, authors, rest []fhir.ResourceID
	_ = fhir.EachMember(composition, func(name, value []byte) bool {
		switch string(name) {
		case "subject":
			subject = references(subject, value)
		case "author":
			authors = references(authors, value)
		case "relatesTo": // other documents, not part of this one
		default:
			rest = references(rest, value)
		}
		return true
	})
	seen := make(map[fhir.ResourceID]bool)
	return slices.DeleteFunc(slices.Concat(subject, authors, rest), func(id fhir.ResourceID) bool {
		again := seen[id]
		seen[id] = true
		return again
	})
}

// references appends the relative references found anywhere in a value.
func references(ids []fhir.ResourceID, value []byte) []fhir.ResourceID {
	switch value[0] {
	case '[':
		_ = fhir.EachItem(value, func(item []byte) bool {
			ids = references(ids, item)
			return true
		})
	case '{':
		_ = fhir.EachMember(value, func(name, v []byte) bool {
			if string(name) == "reference" {
				if text, ok := fhir.Text(v); ok {
					if id, ok := fhir.ParseReference(text); ok {
						ids = append(ids, id)
					}
				}
				return true
			}
			ids = references(ids, v)
			return true
		})
	}
	return ids
}

// documentUUID names exactly these versions: the same document has the same
// identifier, a changed one another.
func documentUUID(versions []fhir.Version) string {
	h := sha256.New()
	for _, v := range versions {
		h.Write([]byte(strings.Join([]string{v.Type, v.ID, strconv.FormatUint(v.Number, 10)}, "/") + "\n"))
	}
	u := h.Sum(nil)[:16]
	u[6] = u[6]&0x0f | 0x80 // version 8: of our own making
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
