package h1

import (
	"slices"
	"sync"
	"time"
)

// sweepEvery is how often idle connections are examined.
const sweepEvery = time.Second

// host keeps the idle connections to one address, the latest last.
type host struct {
	cfg *Config

	mu     sync.Mutex
	idle   []*conn
	timer  *time.Timer // runs while there are idle connections
	closed bool
}

// pop returns the connection that was used last, or nil.
func (h *host) pop() *conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.idle)
	if n == 0 {
		return nil
	}
	c := h.idle[n-1]
	h.idle[n-1] = nil
	h.idle = h.idle[:n-1]
	return c
}

// unused returns an idle connection that can be used, or nil.
func (h *host) unused() *conn {
	for c := h.pop(); c != nil; c = h.pop() {
		if c.isUsable() {
			return c
		}
		c.close()
	}
	return nil
}

// put keeps a connection for reuse, or closes it.
func (h *host) put(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.idle) >= h.cfg.MaxIdle {
		c.close()
		return
	}
	c.idleSince = time.Now()
	h.idle = append(h.idle, c)
	switch {
	case h.timer == nil:
		h.timer = time.AfterFunc(sweepEvery, h.sweep)
	case len(h.idle) == 1:
		h.timer.Reset(sweepEvery)
	}
}

// sweep closes the idle connections that can't be used any more: a server that has closed one waits
// for our end of it.
func (h *host) sweep() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.idle = slices.DeleteFunc(h.idle, func(c *conn) bool {
		if c.isUsable() {
			return false
		}
		c.close()
		return true
	})
	if len(h.idle) > 0 {
		h.timer.Reset(sweepEvery)
	}
}

// closeIdle closes all idle connections. Those in use are closed after use.
func (h *host) closeIdle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, c := range h.idle {
		c.close()
	}
	h.idle = nil
	if h.timer != nil {
		h.timer.Stop()
	}
}
