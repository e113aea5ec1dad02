package kafka

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
)

// Handler serves the reading side of Confluent's REST API: schemas by id,
// subjects, their versions. Deserializers of any language can use it.
func (l *LocalRegistry) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /schemas/ids/{id}", l.serveSchema)
	mux.HandleFunc("GET /subjects", func(w http.ResponseWriter, _ *http.Request) {
		answerRegistry(w, http.StatusOK, l.Subjects())
	})
	mux.HandleFunc("GET /subjects/{subject}/versions", l.serveVersions)
	mux.HandleFunc("GET /subjects/{subject}/versions/{version}", l.serveVersion)
	return mux
}

// Subjects returns the subjects that have a schema, sorted.
func (l *LocalRegistry) Subjects() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	names := make([]string, 0, len(l.subjects))
	for name := range l.subjects {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (l *LocalRegistry) versions(subject string) []schemaVersion {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Clone(l.subjects[subject])
}

func (l *LocalRegistry) serveSchema(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 32)
	text, ok := l.schema(uint32(id))
	if err != nil || !ok {
		refuseRegistry(w, 40403, "Schema not found")
		return
	}
	answerRegistry(w, http.StatusOK, map[string]string{"schema": text})
}

func (l *LocalRegistry) serveVersions(w http.ResponseWriter, r *http.Request) {
	versions := l.versions(r.PathValue("subject"))
	if len(versions) == 0 {
		refuseRegistry(w, 40401, "Subject not found")
		return
	}
	numbers := make([]int, len(versions))
	for i, v := range versions {
		numbers[i] = v.version
	}
	answerRegistry(w, http.StatusOK, numbers)
}

func (l *LocalRegistry) serveVersion(w http.ResponseWriter, r *http.Request) {
	subject, which := r.PathValue("subject"), r.PathValue("version")
	versions := l.versions(subject)
	if len(versions) == 0 {
		refuseRegistry(w, 40401, "Subject not found")
		return
	}
	found := versions[len(versions)-1]
	if which != "latest" && which != "-1" {
		number, err := strconv.Atoi(which)
		i := slices.IndexFunc(versions, func(v schemaVersion) bool { return v.version == number })
		if err != nil || i < 0 {
			refuseRegistry(w, 40402, "Version not found")
			return
		}
		found = versions[i]
	}
	text, _ := l.schema(found.id)
	answerRegistry(w, http.StatusOK, schemaAnswer{subject, found.version, found.id, text})
}

type schemaAnswer struct {
	Subject string `json:"subject"`
	Version int    `json:"version"`
	ID      uint32 `json:"id"`
	Schema  string `json:"schema"`
}

func refuseRegistry(w http.ResponseWriter, code int, message string) {
	answerRegistry(w, http.StatusNotFound, map[string]any{"error_code": code, "message": message})
}

func answerRegistry(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone, or it is not
}
