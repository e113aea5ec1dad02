package api

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// What answers hold in memory until their callers have taken them. A caller that
// does not read keeps its answer; so all of them together are bounded, one
// client's among them, and how long one may take.
const (
	// firstRoom is what is taken for an answer before it is made.
	firstRoom = 256 << 10
	roomStep  = 1 << 20 // and by which that grows
	// roomWait is how long a request waits for room.
	roomWait = time.Second
)

var (
	noRoom    = problem{status: http.StatusServiceUnavailable, code: "throttled", text: "too many answers are waiting to be taken: try again", retry: soon}
	noOwnRoom = problem{status: http.StatusTooManyRequests, code: "throttled", text: "the client does not take its answers as fast as it asks", retry: soon}
)

// room is the memory that answers may hold.
type room struct {
	limit int64

	mu    sync.Mutex
	held  int64
	by    map[string]int64 // client's id, empty for callers without a key
	freed chan struct{}    // closed when something is given back and somebody waits
	waits bool
}

func newRoom(limit int64) *room {
	return &room{limit: limit, by: map[string]int64{}, freed: make(chan struct{})}
}

// own is what one client may hold: half of all, so that one that does not read
// leaves room for the others; an eighth for all who have no key.
func (r *room) own(client string) int64 {
	if client == "" {
		return r.limit / 8
	}
	return r.limit / 2
}

// hold is what one request has of the room. The zero hold has nothing and needs
// nothing: what is made there is not bounded.
type hold struct {
	room   *room
	client string
	bytes  int64
}

// take adds to what is held, waiting for a short while. Who holds nothing yet gets
// what it asks for if nobody holds anything: no answer is too large by itself.
func (h *hold) take(ctx context.Context, bytes int64) error {
	freed, refused := h.try(bytes)
	if refused == nil {
		return nil
	}
	timer := time.NewTimer(roomWait)
	defer timer.Stop()
	for refused != nil {
		select {
		case <-freed:
			freed, refused = h.try(bytes)
		case <-timer.C:
			return refused
		case <-ctx.Done():
			return refused
		}
	}
	return nil
}

func (h *hold) try(bytes int64) (freed chan struct{}, refused error) {
	r := h.room
	r.mu.Lock()
	defer r.mu.Unlock()
	others := r.held - h.bytes
	switch {
	case others > 0 && r.held+bytes > r.limit:
		refused = noRoom
	case r.by[h.client] > h.bytes && r.by[h.client]+bytes > r.own(h.client):
		refused = noOwnRoom
	default:
		h.add(bytes)
		return nil, nil
	}
	r.waits = true
	return r.freed, refused
}

// add is called with the lock held.
func (h *hold) add(bytes int64) {
	h.bytes += bytes
	h.room.held += bytes
	if h.room.by[h.client] += bytes; h.room.by[h.client] == 0 {
		delete(h.room.by, h.client)
	}
}

// covers reports whether there is room for so many bytes, and takes what is
// missing.
func (h *hold) covers(ctx context.Context, bytes int64) bool {
	if h.room == nil || bytes <= h.bytes {
		return true
	}
	missing := (bytes - h.bytes + roomStep - 1) / roomStep * roomStep
	return h.take(ctx, missing) == nil
}

// settle makes what is held what the answer needs.
func (h *hold) settle(bytes int64) {
	r := h.room
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	less := bytes < h.bytes
	h.add(bytes - h.bytes)
	if less && r.waits {
		close(r.freed)
		r.freed, r.waits = make(chan struct{}), false
	}
}

// release gives all back.
func (h *hold) release() {
	h.settle(0)
	h.room = nil
}

// enter takes the first room for the request, before any work.
func (r *request) enter() error {
	r.hold = hold{room: r.room, client: r.caller.ClientID}
	if err := r.hold.take(r.ctx, firstRoom); err != nil {
		r.hold.room = nil
		return err
	}
	return nil
}

// settled makes what the request holds what its answer needs until it is taken.
func (r *request) settled(a answer) {
	bytes := int64(len(a.body))
	if a.from != nil {
		bytes = int64(a.from.buf.Cap())
	}
	if r.c.Request.Method == http.MethodHead {
		bytes = 0
	}
	r.hold.settle(bytes)
}
