package api_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/fhir"
)

// oneResource is a store that costs nothing: it shows what the handler costs.
type oneResource struct {
	api.View
	v     fhir.Version
	fresh []change.Freshness
}

func (o *oneResource) At(uint64) (api.View, error)                      { return o, nil }
func (o *oneResource) Generation() string                               { return "one" }
func (o *oneResource) FirstVersion() uint64                             { return 1 }
func (o *oneResource) Number() uint64                                   { return 7 }
func (o *oneResource) Read(fhir.ResourceID) (fhir.Version, bool, error) { return o.v, true, nil }
func (o *oneResource) Freshness() []change.Freshness                    { return o.fresh }
func (o *oneResource) Close() error                                     { return nil }

func benchResource() *oneResource {
	body := `{"resourceType":"MedicationRequest","id":"x","meta":{},"note":[{"text":"` + strings.Repeat("x", 1400) + `"}]}`
	at := time.Unix(1e9, 0)
	return &oneResource{
		v:     fhir.Version{ResourceID: fhir.ResourceID{Type: "MedicationRequest", ID: "x"}, Number: 3, Updated: at, Body: fhir.Stamp(nil, []byte(body), 3, at)},
		fresh: []change.Freshness{{Source: "emr", Committed: at}, {Source: "pharmacy", Committed: at}},
	}
}

func bareGin(body []byte) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.GET("/fhir/:type/:id", func(c *gin.Context) { c.Data(http.StatusOK, "application/fhir+json; charset=utf-8", body) })
	return e
}

// discard is a ResponseWriter that keeps nothing.
type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

func benchInProcess(b *testing.B, h http.Handler) {
	req := httptest.NewRequest(http.MethodGet, "/fhir/MedicationRequest/x", nil)
	req.Header.Set("Authorization", "Bearer "+key)
	w := &discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.h)
		h.ServeHTTP(w, req)
	}
}

func benchSocket(b *testing.B, h http.Handler) {
	server := httptest.NewServer(h)
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, err := http.NewRequest(http.MethodGet, server.URL+"/fhir/MedicationRequest/x", nil)
			if err != nil {
				b.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer "+key)
			resp, err := client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				b.Errorf("%s", resp.Status)
				return
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	store := benchResource()
	b.Run("handler", func(b *testing.B) { benchInProcess(b, api.New(testConfig(store))) })
	b.Run("socket", func(b *testing.B) { benchSocket(b, api.New(testConfig(store))) })
}

func BenchmarkBareGin(b *testing.B) {
	store := benchResource()
	b.Run("handler", func(b *testing.B) { benchInProcess(b, bareGin(store.v.Body)) })
	b.Run("socket", func(b *testing.B) { benchSocket(b, bareGin(store.v.Body)) })
}
