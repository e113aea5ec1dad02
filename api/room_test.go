package api_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/access"
	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/fhir"
)

// large is a store of 40 resources of 256 KiB each, which do not compress.
func large() *fakeStore {
	s := newFakeStore()
	noise := bytes.Repeat([]byte("x"), 256<<10)
	for i := range 40 {
		id := fhir.ResourceID{Type: "MedicationRequest", ID: fmt.Sprintf("r%02d", i)}
		s.stage(1, "p1", id, fmt.Appendf(nil, `{"resourceType":"MedicationRequest","id":%q,"meta":{},"status":"active","note":[{"text":%q}]}`, id.ID, noise), time.Unix(1e9, 0))
	}
	s.show(1)
	return s
}

// stall asks for 40 resources, 10 MiB, and takes nothing but the first bytes.
func stall(t *testing.T, address, key string, buffer int) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.(*net.TCPConn).SetReadBuffer(buffer)
	fmt.Fprintf(c, "GET /fhir/MedicationRequest?_count=40 HTTP/1.1\r\nHost: fhir.example\r\nAuthorization: Bearer %s\r\n\r\n", key)
	first := make([]byte, len("HTTP/1.1 200 OK"))
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(c, first); err != nil || string(first) != "HTTP/1.1 200 OK" {
		t.Fatalf("%q, %v", first, err)
	}
	return c
}

func threeClients(c *api.Config) {
	c.Clients = access.NewRegistry(access.NewClient("provider", key), access.NewClient("other", "other-key"), access.NewClient("third", "third-key"))
}

// A client that does not take its answers is told to, before any work, and others
// are served; when all the room is taken, everybody waits. Who takes nothing is cut
// off, and only then there is room again.
func TestSlowReadersAreBounded(t *testing.T) {
	for name, one := range map[string]struct {
		room       int64 // the answer that is not taken holds more than 10 MiB
		own, other int
	}{
		"more than one client's": {20 << 20, http.StatusTooManyRequests, http.StatusOK},
		"all":                    {10 << 20, http.StatusServiceUnavailable, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := large()
			c, _ := recorded(store)
			threeClients(&c)
			c.AnswerBytes, c.Stall = one.room, 3*time.Second
			server := httptest.NewServer(api.New(c))
			defer server.Close()
			asks := func(key string, want int) {
				t.Helper()
				store.mu.Lock()
				store.viewed = nil
				store.mu.Unlock()
				body, resp := fetch(t, server.URL+"/fhir/MedicationRequest?_count=1", key)
				if resp.StatusCode != want || want != http.StatusOK && resp.Header.Get("Retry-After") == "" {
					t.Errorf("%s: %d %v, want %d", key, resp.StatusCode, body.Issue, want)
				}
				store.mu.Lock()
				defer store.mu.Unlock()
				if want != http.StatusOK && len(store.viewed) > 0 {
					t.Errorf("%s: work was done", key)
				}
			}
			stall(t, strings.TrimPrefix(server.URL, "http://"), key, 4<<10)
			asks(key, one.own)
			asks("other-key", one.other)
			for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
				if _, resp := fetch(t, server.URL+"/fhir/MedicationRequest?_count=1", key); resp.StatusCode == http.StatusOK {
					break
				}
				if time.Now().After(end) {
					t.Fatal("there is never room again")
				}
			}
		})
	}
}

// A reader that is slow and goes on is not cut off.
func TestSteadyReaderGetsAll(t *testing.T) {
	t.Parallel()
	c, _ := recorded(large())
	c.Stall = time.Second
	server := httptest.NewServer(api.New(c))
	defer server.Close()
	conn := stall(t, strings.TrimPrefix(server.URL, "http://"), key, 1<<20)
	got, part := 0, make([]byte, 512<<10)
	for got < 10<<20 {
		time.Sleep(100 * time.Millisecond)
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := io.ReadFull(conn, part)
		if got += n; err != nil {
			break
		}
	}
	if got < 10<<20 {
		t.Errorf("a slow reader got %d bytes", got)
	}
}

// An answer for which there is no room while it is made is not given; the record
// says so, and of no member. One that is too large by itself is given.
func TestAnswerWithoutRoom(t *testing.T) {
	t.Parallel()
	c, log := recorded(large())
	threeClients(&c)
	c.AnswerBytes, c.Stall = 20<<20, 20*time.Second
	server := httptest.NewServer(api.New(c))
	defer server.Close()
	held := stall(t, strings.TrimPrefix(server.URL, "http://"), key, 1<<20)
	defer held.Close()
	log.take()
	body, resp := fetch(t, server.URL+"/fhir/MedicationRequest?_count=40", "other-key")
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v", resp.StatusCode, body.Issue)
	}
	events := log.take()
	if len(events) != 1 || events[0].Outcome != "failed" || len(events[0].Subjects) != 0 || events[0].Client != "other" {
		t.Errorf("recorded %+v", events)
	}
}
