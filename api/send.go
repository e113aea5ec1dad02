package api

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/tributary-health/tributary/fhir"
)

const (
	gzipFrom  = 1 << 10 // bodies below are sent as they are
	keepBytes = 4 << 20 // larger buffers are not kept for reuse
	// sentAtOnce is what a caller must take of an answer within Config.Stall.
	sentAtOnce = 256 << 10
	// bufferedByHTTP is how much net/http holds back to find the length itself.
	bufferedByHTTP = 2 << 10
)

// Shared header values: nobody may change them.
var (
	fhirJSON       = []string{"application/fhir+json; charset=utf-8"}
	plainText      = []string{"text/plain; charset=utf-8"}
	privateNoCache = []string{"private, no-cache"}
	noStore        = []string{"no-store"}
	varyEncoding   = []string{"Accept-Encoding"}
	gzipEncoding   = []string{"gzip"}
)

var (
	buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
	zippers = sync.Pool{New: func() any {
		w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
		return w
	}}
)

func putBuffer(b *bytes.Buffer) {
	if b.Cap() <= keepBytes {
		b.Reset()
		buffers.Put(b)
	}
}

// answer is what a handler has to say. A handler only makes one: handle records
// what it shows and then writes it, so that nothing can leave on another way.
type answer struct {
	status int
	body   []byte
	text   bool // plain text, for probes
	// shows is what the answer shows of members: nil in an answer to anyone. An
	// answer to a client without it is not sent.
	shows *disclosure
	from  *bundle // which body is a part of; nil if none
}

// header is what is sent before the body. A handler may set it: it leaves with
// the answer and is forgotten with it.
func (r *request) header() http.Header { return r.c.Writer.Header() }

// limited is the request's body, as far as the limit.
func (r *request) limited(limit int64) io.ReadCloser {
	return http.MaxBytesReader(r.c.Writer, r.c.Request.Body, limit)
}

// write sends the answer, and returns its status: the one place that does.
func (r *request) write(a answer) int {
	a.shows = nil // on the record by now: not to be kept while the caller reads
	h := r.header()
	switch {
	case a.status == http.StatusNotModified:
		h["Cache-Control"] = privateNoCache
		r.c.Writer.WriteHeader(a.status)
		r.c.Writer.WriteHeaderNow()
		return a.status
	case a.text:
		h["Content-Type"] = plainText
		h["Cache-Control"] = noStore
	default:
		h["Content-Type"] = fhirJSON
		if h["Cache-Control"] == nil {
			h["Cache-Control"] = privateNoCache
		}
		h["Vary"] = varyEncoding
		if len(a.body) >= gzipFrom && acceptsGzip(first(r.c.Request.Header["Accept-Encoding"])) {
			zipped := buffers.Get().(*bytes.Buffer)
			defer putBuffer(zipped)
			if body, ok := zip(zipped, a.body, h); ok {
				a.body = body
				if a.from != nil { // what was made is not held while the caller reads
					a.from.release()
					a.from = nil
				}
				r.hold.settle(int64(zipped.Cap()))
			}
		}
	}
	if a.from != nil {
		defer a.from.release()
	}
	if len(a.body) > bufferedByHTTP || r.c.Request.Method == http.MethodHead || h["Content-Encoding"] != nil {
		h["Content-Length"] = []string{strconv.Itoa(len(a.body))}
	}
	r.c.Writer.WriteHeader(a.status)
	r.send(a.body)
	return a.status
}

// send writes the body. The caller must go on taking it: what it does not take
// for Config.Stall is cut off, and so is what takes longer than Config.SendTime.
func (r *request) send(body []byte) {
	to := http.NewResponseController(r.c.Writer)
	end := time.Now().Add(r.SendTime)
	for {
		part := body[:min(len(body), sentAtOnce)]
		by := time.Now().Add(r.Stall)
		if by.After(end) {
			by = end
		}
		_ = to.SetWriteDeadline(by) // a writer that has none is a test's
		// A caller that has gone away is no error of ours.
		if _, err := r.c.Writer.Write(part); err != nil || len(part) == len(body) {
			break
		}
		body = body[len(part):]
	}
}

// zip returns the body compressed, and says so in the headers; ok is false if that
// did not go.
func zip(to *bytes.Buffer, body []byte, h http.Header) (zipped []byte, ok bool) {
	w := zippers.Get().(*gzip.Writer)
	defer zippers.Put(w)
	w.Reset(to)
	_, err := w.Write(body)
	if err2 := w.Close(); err != nil || err2 != nil {
		return nil, false
	}
	h["Content-Encoding"] = gzipEncoding
	return to.Bytes(), true
}

// acceptsGzip reads an Accept-Encoding header.
func acceptsGzip(accept string) bool {
	if accept == "" {
		return false
	}
	for _, one := range strings.Split(accept, ",") {
		coding, parameters, _ := strings.Cut(one, ";")
		if coding = strings.TrimSpace(coding); strings.EqualFold(coding, "gzip") || coding == "*" {
			q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(parameters), "q="), 64)
			return parameters == "" || err == nil && q > 0
		}
	}
	return false
}

// versionAnswer is one stored version, or what the subset keeps of it, or 304 if
// the caller has it.
func (r *request) versionAnswer(v fhir.Version, part *fhir.Subset) answer {
	h := r.header()
	tag := etag(v.Number)
	h["Etag"] = []string{tag}
	h["Last-Modified"] = []string{v.Updated.UTC().Format(http.TimeFormat)}
	a := answer{status: http.StatusOK, body: v.Body, shows: showing(v)}
	for _, have := range r.c.Request.Header["If-None-Match"] {
		if matchesETag(have, tag) {
			a.status, a.body = http.StatusNotModified, nil
			return a
		}
	}
	if part != nil {
		a.body = part.Append(nil, v.Body)
	}
	return a
}

func etag(version uint64) string { return `W/"` + strconv.FormatUint(version, 10) + `"` }

// matchesETag compares weakly: with or without W/.
func matchesETag(have, tag string) bool {
	for _, one := range strings.Split(have, ",") {
		one = strings.TrimSpace(one)
		if one == "*" || strings.TrimPrefix(one, "W/") == tag[2:] {
			return true
		}
	}
	return false
}

func instant(t time.Time) string { return t.UTC().Format(fhir.LastUpdatedLayout) }
