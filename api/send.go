package api

import (
	"bytes"
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

// send answers with a body of FHIR JSON, which is not kept. What was written
// before decides nothing: a request is answered once, and whole.
func (r *request) send(status int, body []byte) {
	r.status = status
	h := r.c.Writer.Header()
	h["Content-Type"] = fhirJSON
	if h["Cache-Control"] == nil {
		h["Cache-Control"] = privateNoCache
	}
	h["Vary"] = varyEncoding
	if len(body) >= gzipFrom && acceptsGzip(first(r.c.Request.Header["Accept-Encoding"])) {
		zipped := buffers.Get().(*bytes.Buffer)
		defer putBuffer(zipped)
		w := zippers.Get().(*gzip.Writer)
		w.Reset(zipped)
		_, err := w.Write(body)
		if err2 := w.Close(); err == nil && err2 == nil {
			h["Content-Encoding"] = gzipEncoding
			body = zipped.Bytes()
		}
		zippers.Put(w)
	}
	if len(body) > bufferedByHTTP || r.c.Request.Method == http.MethodHead || h["Content-Encoding"] != nil {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	r.c.Writer.WriteHeader(status)
	// A caller that has gone away is no error of ours.
	_, _ = r.c.Writer.Write(body)
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

// sendVersion answers with one stored version, or what the subset keeps of it, or
// 304 if the caller has it.
func (r *request) sendVersion(v fhir.Version, part *fhir.Subset) error {
	h := r.c.Writer.Header()
	tag := etag(v.Number)
	h["Etag"] = []string{tag}
	h["Last-Modified"] = []string{v.Updated.UTC().Format(http.TimeFormat)}
	for _, have := range r.c.Request.Header["If-None-Match"] {
		if matchesETag(have, tag) {
			h["Cache-Control"] = privateNoCache
			r.status = http.StatusNotModified
			r.c.Writer.WriteHeader(r.status)
			r.c.Writer.WriteHeaderNow()
			return nil
		}
	}
	body := v.Body
	if part != nil {
		body = part.Append(nil, body)
	}
	r.send(http.StatusOK, body)
	return nil
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
