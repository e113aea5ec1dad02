package api

import (
	"context"
	"net/http"
	"time"
)

// readyTimeout bounds Config.Ready.
const readyTimeout = 5 * time.Second

func (s *server) health(*request) (answer, error) {
	return plain(http.StatusOK, "ok\n"), nil
}

func (s *server) ready(r *request) (answer, error) {
	ctx, cancel := context.WithTimeout(r.ctx, readyTimeout)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		return plain(http.StatusServiceUnavailable, "not ready: "+err.Error()+"\n"), nil
	}
	return plain(http.StatusOK, "ready\n"), nil
}

func plain(status int, text string) answer {
	return answer{status: status, body: []byte(text), text: true}
}
