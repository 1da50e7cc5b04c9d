package h1

import (
	"sync"
	"time"
)

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

// unused returns an idle connection that is still open and silent, or nil.
func (h *host) unused() *conn {
	for c := h.pop(); c != nil; c = h.pop() {
		if c.silent() {
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
	if h.cfg.IdleTimeout <= 0 {
		return
	}
	switch {
	case h.timer == nil:
		h.timer = time.AfterFunc(h.cfg.IdleTimeout, h.sweep)
	case len(h.idle) == 1:
		h.timer.Reset(h.cfg.IdleTimeout)
	}
}

// sweep closes the connections that have been idle for too long: the first ones.
func (h *host) sweep() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	n := 0
	for n < len(h.idle) && now.Sub(h.idle[n].idleSince) >= h.cfg.IdleTimeout {
		h.idle[n].close()
		n++
	}
	h.idle = append(h.idle[:0], h.idle[n:]...)
	if len(h.idle) > 0 {
		h.timer.Reset(h.cfg.IdleTimeout - now.Sub(h.idle[0].idleSince))
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
