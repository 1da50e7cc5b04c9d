package proxy

import (
	"cmp"
	"fmt"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
)

// Timeouts bounds the parts of an exchange. Zero values select the defaults, negative ones mean no
// limit.
type Timeouts struct {
	// Connect bounds the TCP part of a new connection of a transport made by [NewTransport];
	// TransportConfig.ConnectTimeout bounds TLS. Default: 5 s.
	Connect time.Duration
	// FirstByte bounds each attempt from its start to the head of its response. If it is set,
	// and FirstContent and Hold are not, it also bounds a stream's silence before its first
	// content; comments are no silence. Default: 2 min, since a model thinks before it sends a
	// single response.
	FirstByte time.Duration
	// FirstContent bounds each attempt of a call that generates text from its start to the
	// first content. Comments and white space are no content. Default: 5 min.
	FirstContent time.Duration
	// Hold bounds the buffering of a response with status 200 to a request with a body, which
	// lasts until a model's stream has content or JSON is complete: an attempt that fails
	// before is retried, or becomes a clean error instead of a broken response. After Hold the
	// response is sent as it is, including heartbeats. Default: 0, until FirstContent ends the
	// attempt. Negative: no buffering. Calls of JSON-RPC (MCP) are never buffered.
	Hold time.Duration
	// Idle bounds each wait for the next bytes of a response, including comments and white
	// space. Time spent on a slow client does not count. Default: 5 min.
	Idle time.Duration
	// Stall replaces Idle for an event stream with a known pace: the limit is ten times its
	// median pause, at least Stall and at most Idle. It applies while text flows: not to
	// requests with tools, nor during a search or a code execution, nor after a part of the
	// content is complete. Default: 1 min; negative: Idle only.
	Stall time.Duration
	// Total bounds the exchange from start to end. A client may request less by
	// X-Request-Timeout (seconds, or a number with a unit) or Grpc-Timeout, and the upstream
	// receives the remaining time; a client's timeout is no failure of an upstream. Default:
	// 1 h.
	Total time.Duration
	// Tunnel bounds the silence of an upgraded connection, in both directions. Default: 1 h.
	Tunnel time.Duration
}

// limits are Timeouts with derived values.
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
	t.Connect = cmp.Or(t.Connect, 5*time.Second)
	t.FirstByte = cmp.Or(t.FirstByte, 2*time.Minute)
	t.FirstContent = cmp.Or(t.FirstContent, 5*time.Minute)
	t.Idle = cmp.Or(t.Idle, 5*time.Minute)
	t.Stall = cmp.Or(t.Stall, time.Minute)
	t.Total = cmp.Or(t.Total, time.Hour)
	t.Tunnel = cmp.Or(t.Tunnel, time.Hour)
	var faults []error
	for _, f := range []struct {
		name string
		d    time.Duration
	}{{"Connect", t.Connect}, {"FirstByte", t.FirstByte}, {"FirstContent", t.FirstContent}, {"Hold", t.Hold}, {"Idle", t.Idle}, {"Stall", t.Stall}, {"Total", t.Total}, {"Tunnel", t.Tunnel}} {
		if f.d > 0 && f.d < time.Millisecond {
			faults = append(faults, fmt.Errorf("proxy: Timeouts.%s: %v is below a millisecond; is a unit missing?", f.name, f.d))
		}
	}
	return t, fault.Join(faults...)
}
