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

// write sends the answer: the one place that does.
func (r *request) write(a answer) {
	if a.from != nil {
		defer a.from.release()
	}
	h := r.header()
	switch {
	case a.status == http.StatusNotModified:
		h["Cache-Control"] = privateNoCache
		r.c.Writer.WriteHeader(a.status)
		r.c.Writer.WriteHeaderNow()
		return
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
			a.body = zip(zipped, a.body, h)
		}
	}
	if len(a.body) > bufferedByHTTP || r.c.Request.Method == http.MethodHead || h["Content-Encoding"] != nil {
		h["Content-Length"] = []string{strconv.Itoa(len(a.body))}
	}
	r.c.Writer.WriteHeader(a.status)
	// A caller that has gone away is no error of ours.
	_, _ = r.c.Writer.Write(a.body)
}

// zip returns the body compressed, and says so in the headers, or as it is.
func zip(to *bytes.Buffer, body []byte, h http.Header) []byte {
	w := zippers.Get().(*gzip.Writer)
	defer zippers.Put(w)
	w.Reset(to)
	_, err := w.Write(body)
	if err2 := w.Close(); err != nil || err2 != nil {
		return body
	}
	h["Content-Encoding"] = gzipEncoding
	return to.Bytes()
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
