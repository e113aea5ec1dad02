package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/tributary-health/tributary/fhir"
)

// bundle writes one Bundle: its head first (total, links), then entries, then
// answer. Resources go in as the bytes that are stored.
//
// What goes in is noted as shown. One that grows beyond the room for answers is full:
// nothing more goes in, and it is not sent.
type bundle struct {
	r       *request
	full    bool
	bodies  int64 // bytes of the resources so far
	base    string
	shown   disclosure
	buf     *bytes.Buffer
	links   int
	entries int
}

func (r *request) newBundle(kind string) *bundle {
	b := &bundle{r: r, base: r.base(), buf: buffers.Get().(*bytes.Buffer)}
	b.buf.Reset()
	b.text(`{"resourceType":"Bundle","type":"`, kind, `"`)
	return b
}

// release gives the memory back; what answer returned is no longer valid.
func (b *bundle) release() { putBuffer(b.buf) }

func (b *bundle) text(parts ...string) {
	for _, s := range parts {
		b.buf.WriteString(s)
	}
}

func (b *bundle) quoted(s string) {
	if asIs(s) {
		b.text(`"`, s, `"`)
		return
	}
	e := json.NewEncoder(b.buf)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)                 // a string into memory: never fails
	b.buf.Truncate(b.buf.Len() - 1) // the line end
}

// asIs says whether JSON has the text as it is.
func asIs(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func (b *bundle) total(n uint64) {
	b.text(`,"total":`, strconv.FormatUint(n, 10))
}

func (b *bundle) link(relation, url string) {
	if b.links++; b.links == 1 {
		b.text(`,"link":[`)
	} else {
		b.text(`,`)
	}
	b.text(`{"relation":"`, relation, `","url":`)
	b.quoted(url)
	b.text(`}`)
}

// entry begins an entry; the caller closes it with a brace.
func (b *bundle) entry(v fhir.Version) {
	b.shown.add(v)
	if b.links > 0 && b.entries == 0 {
		b.text(`]`)
	}
	if b.entries++; b.entries == 1 {
		b.text(`,"entry":[`)
	} else {
		b.text(`,`)
	}
	b.text(`{"fullUrl":`)
	b.quoted(b.base + "/" + v.Type + "/" + v.ID)
}

func (b *bundle) resource(body []byte) {
	if !b.holds(len(body)) {
		return
	}
	b.text(`,"resource":`)
	b.buf.Write(body)
}

// holds says whether there is room for one more resource, beside those that are read
// and written by now.
func (b *bundle) holds(bytes int) bool {
	b.bodies += int64(bytes)
	b.full = b.full || !b.r.hold.covers(b.r.ctx, b.bodies+max(b.bodies, int64(b.buf.Cap())))
	return !b.full
}

// searchEntry adds a match or an included resource, or what the subset keeps of
// it; a nil subset keeps all.
func (b *bundle) searchEntry(v fhir.Version, mode string, subset *fhir.Subset) {
	b.entry(v)
	if subset == nil {
		b.resource(v.Body)
	} else if b.holds(len(v.Body)) {
		b.text(`,"resource":`)
		b.buf.Write(subset.Append(b.buf.AvailableBuffer(), v.Body))
	}
	b.text(`,"search":{"mode":"`, mode, `"}}`)
}

// documentEntry adds a resource of a document.
func (b *bundle) documentEntry(v fhir.Version) {
	b.entry(v)
	b.resource(v.Body)
	b.text(`}`)
}

// historyEntry adds one version, or the mark of a deletion. Versions begin with the
// number first.
func (b *bundle) historyEntry(v fhir.Version, first uint64) {
	method, status := "PUT", "200"
	switch {
	case v.Deleted:
		method, status = "DELETE", "204"
	case v.Number == first:
		status = "201"
	}
	b.entry(v)
	if !v.Deleted {
		b.resource(v.Body)
	}
	b.text(`,"request":{"method":"`, method, `","url":"`, v.Type, `/`, v.ID, `"},"response":{"status":"`, status, `","etag":`)
	b.quoted(etag(v.Number))
	b.text(`,"lastModified":"`, instant(v.Updated), `"}}`)
}

// answer closes the Bundle and returns it as the answer, with what it shows. The
// memory goes back once the answer is written.
func (b *bundle) answer() answer {
	switch {
	case b.entries > 0, b.links > 0:
		b.text(`]`)
	}
	b.text(`}`)
	return answer{status: http.StatusOK, body: b.buf.Bytes(), shows: &b.shown, from: b}
}
