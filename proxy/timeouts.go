package proxy

import (
	"errors"
	"fmt"
	"time"
)

// Timeouts bound the parts of an exchange. Zero means the default, negative
// means no limit.
type Timeouts struct {
	// Connect bounds the TCP part of making a new connection by a transport
	// that [NewTransport] made; TransportConfig.ConnectTimeout bounds TLS.
	// Default 5 s.
	Connect time.Duration
	// FirstByte bounds each attempt from its begin to the head of its response.
	// Default 2 min: a model that responds in one piece thinks first. Where it is set,
	// and FirstContent and Hold are not, a stream may not be silent for longer before
	// its first content either; comments are no silence.
	FirstByte time.Duration
	// FirstContent bounds each attempt of a call that generates text from its begin to
	// the first content. Comments and white space are none. Default 5 min.
	FirstContent time.Duration
	// Hold is how long a response with status 200 to a request with a body is kept
	// back, until a stream of a model has its first content, or JSON its end: an attempt
	// that fails before is repeated, or is a clean error, and not a broken response. When
	// Hold passes, it goes out as it is, and heartbeats with it. Default 0: until
	// FirstContent ends the attempt. Negative: nothing is kept back. Calls of JSON-RPC
	// (MCP) never are.
	Hold time.Duration
	// Idle bounds each wait for the next bytes of a response, be they a comment or
	// white space; time spent on a slow client does not count. Default 5 min.
	Idle time.Duration
	// Stall bounds it more tightly for a stream of events whose pace is known: by
	// ten times its median pause, but not by less than Stall, nor by more than
	// Idle. It holds while text flows: not for requests with tools, nor while a search
	// or code runs, nor after a part of the content is complete. Default 1 min;
	// negative: Idle alone.
	Stall time.Duration
	// Total bounds the exchange from begin to end. A client may ask for less by
	// X-Request-Timeout (seconds, or a number with a unit) or Grpc-Timeout, and what
	// is left of that is told to the upstream; when it passes, no upstream has failed.
	// Default 1 h.
	Total time.Duration
	// Tunnel bounds the silence, in both directions, of an upgraded
	// connection. Default 1 h.
	Tunnel time.Duration
}

// limits are Timeouts with what follows from them.
type limits struct {
	Timeouts
	opening time.Duration // bounds a silence before the first content
}

func (t Timeouts) limits() (limits, error) {
	var l limits
	if t.FirstContent == 0 && t.Hold == 0 {
		l.opening = max(t.FirstByte, 0)
	}
	var err error
	l.Timeouts, err = t.resolve()
	return l, err
}

func (t Timeouts) resolve() (Timeouts, error) {
	t.Connect = orDefault(t.Connect, 5*time.Second)
	t.FirstByte = orDefault(t.FirstByte, 2*time.Minute)
	t.FirstContent = orDefault(t.FirstContent, 5*time.Minute)
	t.Idle = orDefault(t.Idle, 5*time.Minute)
	t.Stall = orDefault(t.Stall, time.Minute)
	t.Total = orDefault(t.Total, time.Hour)
	t.Tunnel = orDefault(t.Tunnel, time.Hour)
	var faults []error
	for _, f := range []struct {
		name string
		d    time.Duration
	}{{"Connect", t.Connect}, {"FirstByte", t.FirstByte}, {"FirstContent", t.FirstContent}, {"Hold", t.Hold}, {"Idle", t.Idle}, {"Stall", t.Stall}, {"Total", t.Total}, {"Tunnel", t.Tunnel}} {
		if f.d > 0 && f.d < time.Millisecond {
			faults = append(faults, fmt.Errorf("proxy: Timeouts.%s: %v is below a millisecond; is a unit missing?", f.name, f.d))
		}
	}
	return t, errors.Join(faults...)
}

func orDefault[T ~int | ~int64 | ~float64](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}
