package api

import (
	"context"
	"net/http"
	"time"
)

// readyTimeout bounds Config.Ready.
const readyTimeout = 5 * time.Second

var plainText = []string{"text/plain; charset=utf-8"}

func (s *server) health(r *request) error {
	r.plain(http.StatusOK, "ok\n")
	return nil
}

func (s *server) ready(r *request) error {
	ctx, cancel := context.WithTimeout(r.c.Request.Context(), readyTimeout)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		r.plain(http.StatusServiceUnavailable, "not ready: "+err.Error()+"\n")
		return nil
	}
	r.plain(http.StatusOK, "ready\n")
	return nil
}

func (r *request) plain(status int, text string) {
	r.status = status
	h := r.c.Writer.Header()
	h["Content-Type"] = plainText
	h["Cache-Control"] = noStore
	r.c.Writer.WriteHeader(status)
	_, _ = r.c.Writer.WriteString(text)
}
