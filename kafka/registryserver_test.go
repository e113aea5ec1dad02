package kafka_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributary-health/tributary/kafka"
)

// registryServer speaks the part of Confluent's protocol that writers and
// readers use. trouble, if it answers, comes before everything.
type registryServer struct {
	mu      sync.Mutex
	ids     map[string]int
	texts   []string
	trouble func(w http.ResponseWriter, r *http.Request) bool
}

func (s *registryServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	if s.trouble != nil && s.trouble(w, r) {
		return
	}
	switch {
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/versions"):
		var in struct {
			Schema string `json:"schema"`
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			refuse(w, 422, 42201, "Invalid schema")
			return
		}
		id, ok := s.ids[in.Schema]
		if !ok {
			s.texts = append(s.texts, in.Schema)
			id = len(s.texts)
			s.ids[in.Schema] = id
		}
		_ = json.NewEncoder(w).Encode(map[string]int{"id": id})
	case strings.HasPrefix(r.URL.Path, "/schemas/ids/"):
		id, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/schemas/ids/"))
		if err != nil || id < 1 || id > len(s.texts) {
			refuse(w, 404, 40403, "Schema not found")
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"schema": s.texts[id-1]})
	default:
		refuse(w, 404, 404, "no such path")
	}
}

func refuse(w http.ResponseWriter, status, code int, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error_code": code, "message": message})
}

// A registry server over TLS with a login: schemas come back; what it refuses is
// an error at once that says what to change; what passes is waited for.
func TestRegistryServer(t *testing.T) {
	s := &registryServer{ids: map[string]int{}}
	server := httptest.NewTLSServer(s)
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	login := func(w http.ResponseWriter, r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		if user == "tributary" && password == "secret" {
			return false
		}
		refuse(w, 401, 40101, "Unauthorized")
		return true
	}
	open := func(password, ca string) *kafka.ConfluentRegistry {
		r, err := kafka.NewConfluentRegistry(kafka.ConfluentConfig{URLs: []string{server.URL},
			User: "tributary", Password: password, TLS: &kafka.TLS{CAFile: ca}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	failures := 3
	for _, c := range []struct {
		name, password, ca string
		trouble            func(w http.ResponseWriter, r *http.Request) bool
		want               string // of the error
	}{
		{"fine", "secret", ca, login, ""},
		{"wrong password", "other", ca, login, "refuses user or password"},
		{"unknown authority", "secret", "", login, "name the file of the authority"},
		{"forbidden", "secret", ca, func(w http.ResponseWriter, _ *http.Request) bool {
			refuse(w, 403, 40301, "Denied")
			return true
		}, "may not do this"},
		{"not compatible", "secret", ca, func(w http.ResponseWriter, _ *http.Request) bool {
			refuse(w, 409, 409, "Schema being registered is incompatible with an earlier schema")
			return true
		}, `PUT /config/cdc.emr.patients-value {"compatibility":"NONE"}`},
		{"at fault, then back", "secret", ca, func(w http.ResponseWriter, _ *http.Request) bool {
			if failures--; failures < 0 {
				return false
			}
			refuse(w, []int{429, 500, 503}[failures%3], 50001, "Store error")
			return true
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.mu.Lock()
			s.trouble = c.trouble
			s.mu.Unlock()
			r := open(c.password, c.ca)
			text := `{"type":"record","name":"x","fields":[]}`
			id, err := r.ID(timeout(t), "cdc.emr.patients-value", text)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("error %v, want %q", err, c.want)
				}
				return
			}
			if err != nil || id != 1 {
				t.Fatalf("id %d, %v", id, err)
			}
			again, err := open(c.password, c.ca).Schema(timeout(t), id)
			if err != nil || again != text {
				t.Errorf("schema %q, %v", again, err)
			}
			if _, err := r.Schema(timeout(t), 77); !errors.Is(err, kafka.ErrUnknownSchema) {
				t.Errorf("unknown id: %v", err)
			}
		})
	}
}

// While no server answers, the client waits and says why.
func TestConfluentRegistryWaits(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	told := 0
	r, err := kafka.NewConfluentRegistry(kafka.ConfluentConfig{URLs: []string{"http://127.0.0.1:1"}, Waiting: func(err error, again time.Duration) {
		if err == nil || again <= 0 {
			t.Errorf("told %v, again in %v", err, again)
		}
		if told++; told == 3 {
			cancel()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ID(ctx, "s-value", `"string"`); !errors.Is(err, context.Canceled) || told != 3 {
		t.Errorf("told %d times, then %v", told, err)
	}
}
