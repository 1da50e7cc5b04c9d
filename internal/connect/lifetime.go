package connect

import (
	"context"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"
)

// Defaults of the public packages.
const (
	// IdleTimeout is below the 5 s of uvicorn and Node.js.
	IdleTimeout = 4 * time.Second
	MaxAge      = 5 * time.Minute
	MaxRequests = 10_000
)

// Lifetime bounds the use of a connection. Each connection gets a random part of it, between half
// and all, so that those which were opened together do not end together.
type Lifetime struct {
	MaxAge      time.Duration // 0: no bound
	MaxRequests int           // 0: no bound
}

// Conn is a TCP connection with a Lifetime. It is never cut: the code that sends requests over it
// calls Begin for each, and closes the connection after the last one.
type Conn struct {
	*net.TCPConn

	until    time.Time // zero: no bound
	limit    int64     // 0: no bound
	requests atomic.Int64
	name     *name // nil: not opened by name
	place    *place
	closed   atomic.Bool
}

// Dial returns a dial function that gives its connections the Lifetime.
func (l Lifetime) Dial(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return l.wrap(nc, nil, nil), nil
	}
}

// wrap gives a TCP connection its part of the Lifetime. Others are returned as they are.
func (l Lifetime) wrap(nc net.Conn, n *name, p *place) net.Conn {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nc
	}
	c := &Conn{TCPConn: tcp, name: n, place: p}
	if l.MaxAge > 0 {
		c.until = time.Now().Add(part(l.MaxAge))
	}
	if l.MaxRequests > 0 {
		c.limit = max(part(int64(l.MaxRequests)), 1)
	}
	return c
}

// part returns a random part of all, between half and all.
func part[T ~int64](all T) T {
	return all - T(rand.Float64()*float64(all)/2) //nolint:gosec // no secret
}

// Of returns the Conn below nc, which may be TLS. Nil: there is none.
func Of(nc net.Conn) *Conn {
	for {
		switch c := nc.(type) {
		case *Conn:
			return c
		case interface{ NetConn() net.Conn }:
			nc = c.NetConn()
		default:
			return nil
		}
	}
}

// Begin counts a request, and reports whether it is the connection's last one.
func (c *Conn) Begin() (last bool) {
	if c == nil {
		return false
	}
	n := c.requests.Add(1)
	return c.limit > 0 && n >= c.limit || c.IsOld() || c.name.sheds(c.place)
}

// IsOld reports whether the connection is past its age.
func (c *Conn) IsOld() bool {
	return c != nil && !c.until.IsZero() && !time.Now().Before(c.until)
}

// Close closes the connection.
func (c *Conn) Close() error {
	if !c.closed.Swap(true) {
		c.name.closed(c.place)
	}
	return c.TCPConn.Close()
}
