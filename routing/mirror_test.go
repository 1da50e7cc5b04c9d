package routing_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	bodies "github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mirrored is a router with a mirror, and the requests that reached it.
type mirrored struct {
	*routing.Router

	mu     sync.Mutex
	copies []*http.Request
	bodies []string
	events []routing.Event
}

func newMirrored(t *testing.T, mirror string, cfg routing.MirrorConfig, respond routetest.Upstream) *mirrored {
	t.Helper()
	m := new(mirrored)
	m.Router = routetest.New(t, routing.Config{
		Table:  routetest.Table(t, `{"routes":[{"model":"m","version":"old","mirror":`+mirror+`},{"model":"x","version":"new","upstream_model":"m-next"}]}`),
		Mirror: cfg,
		Upstreams: map[string]http.RoundTripper{"old": routetest.Serves("old", http.StatusOK), "new": routetest.Upstream(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			m.mu.Lock()
			m.copies, m.bodies = append(m.copies, r), append(m.bodies, string(body))
			m.mu.Unlock()
			return respond(r)
		})},
		OnEvent: func(_ context.Context, e routing.Event) {
			if e.Kind == routing.Mirrored || e.Kind == routing.MirrorFull {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.events = append(m.events, e)
			}
		},
	})
	return m
}

// held returns a request with its body in memory, as behind a proxy.
func held(t *testing.T, m *mirrored, body string, headers ...string) *http.Request {
	t.Helper()
	req := routetest.Decided(t, m.Router, routetest.Post(body, headers...))
	bodies.Set(req, []byte(body))
	return req
}

func (m *mirrored) reported() []routing.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.events
}

func (m *mirrored) drain(t *testing.T) {
	t.Helper()
	require.NoError(t, m.Drain(context.Background()))
}

const hello = `{"model":"m","messages":[{"role":"user","content":"hi"}]}`

func TestMirror(t *testing.T) {
	t.Parallel()
	m := newMirrored(t, `{"version":"new"}`, routing.MirrorConfig{}, routetest.Serves("new", http.StatusServiceUnavailable))
	req := held(t, m, hello, "Idempotency-Key", "k", "X-Other", "o")
	x := new(exchange.Exchange)
	_, out := x.Begin(req)
	got, err := sent(m.Router, out)
	require.NoError(t, err)
	require.Equal(t, result{http.StatusOK, "old", "old:" + hello}, got.result)
	m.drain(t)
	require.Len(t, m.copies, 1)
	c := m.copies[0]
	assert.Equal(t, "1", c.Header.Get(routing.ShadowHeader))
	assert.Empty(t, c.Header.Get("Idempotency-Key"))
	assert.Equal(t, "o", c.Header.Get("X-Other"))
	assert.JSONEq(t, strings.Replace(hello, `"m"`, `"m-next"`, 1), m.bodies[0])
	assert.NotSame(t, x, exchange.From(c.Context()), "it is no attempt of the request")
	assert.True(t, exchange.From(c.Context()).Shadow)
	assert.Equal(t, 1, x.Attempts())
	_, ok := routing.FromContext(c.Context())
	assert.False(t, ok, "and shares no other value")
	target, _ := routing.TargetFrom(c.Context())
	assert.Equal(t, "new", target.Version)
	assert.Equal(t, []routing.Event{{Kind: routing.Mirrored, Model: "m", Version: "new", From: "old", Status: http.StatusServiceUnavailable}}, m.events)
	assert.Empty(t, req.Header.Get(routing.ShadowHeader))

	_, err = sent(m.Router, held(t, m, hello))
	require.NoError(t, err)
	assert.Len(t, m.copies, 1, "none is made after the end")
	m.drain(t)
}

func TestMirrorCopiesNot(t *testing.T) {
	t.Parallel()
	m := newMirrored(t, `{"version":"new"}`, routing.MirrorConfig{}, routetest.Serves("new", http.StatusOK))
	for name, req := range map[string]*http.Request{
		"tools":              held(t, m, `{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"f"}}]}`),
		"a long body":        held(t, m, `{"model":"m","messages":[],"x":"`+strings.Repeat("x", 300<<10)+`"}`),
		"another route":      held(t, m, `{"model":"x"}`),
		"the second attempt": held(t, m, hello),
	} {
		if name == "the second attempt" {
			x := new(exchange.Exchange)
			x.Begin(req)
			_, req = x.Begin(req)
		}
		_, err := sent(m.Router, req)
		require.NoError(t, err, name)
	}
	streaming := routetest.Decided(t, m.Router, routetest.Post(hello))
	streaming.Body = io.NopCloser(strings.NewReader(hello))
	_, err := sent(m.Router, streaming)
	require.NoError(t, err)
	m.drain(t)
	for _, c := range m.copies {
		assert.Empty(t, c.Header.Get(routing.ShadowHeader))
	}
	assert.Empty(t, m.events)
}

func TestMirrorShare(t *testing.T) {
	t.Parallel()
	m := newMirrored(t, `{"version":"new","share":0.25}`, routing.MirrorConfig{Concurrent: 1000}, routetest.Serves("new", http.StatusOK))
	for range 1000 {
		_, err := sent(m.Router, held(t, m, hello))
		require.NoError(t, err)
	}
	m.drain(t)
	assert.InDelta(t, 250, len(m.copies), 70)
}

// A mirror that hangs delays no request: copies beyond the bound are left out, and the
// others time out.
func TestMirrorHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMirrored(t, `{"version":"new"}`, routing.MirrorConfig{Concurrent: 2, Timeout: time.Second}, func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		begun := time.Now()
		for range 3 {
			_, err := sent(m.Router, held(t, m, hello))
			require.NoError(t, err)
		}
		require.Zero(t, time.Since(begun))
		require.Equal(t, routing.MirrorFull, m.reported()[0].Kind)
		time.Sleep(2 * time.Second)
		require.Len(t, m.reported(), 3)
		require.ErrorIs(t, m.reported()[1].Err, context.DeadlineExceeded)
		_, err := sent(m.Router, held(t, m, hello))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, m.Drain(ctx), context.DeadlineExceeded)
		require.Len(t, m.reported(), 4)
		require.ErrorIs(t, m.reported()[3].Err, context.Canceled)
	})
}

// The outcome of a copy is that of its stream. A panic ends only the copy.
func TestMirrorOutcomes(t *testing.T) {
	t.Parallel()
	streams := func(text string) routetest.Upstream {
		return func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(strings.NewReader(text))}, nil
		}
	}
	token := `data: {"choices":[{"index":0,"delta":{"content":"a"}}]}` + "\n\n"
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		respond routetest.Upstream
		want    error
		text    string
	}{
		"whole":       {respond: streams(token + "data: [DONE]\n\n")},
		"cut":         {respond: streams(token), want: exchange.ErrCut},
		"error event": {respond: streams(token + `data: {"error":{"message":"x","type":"server_error"}}` + "\n\n"), text: "server_error"},
		"no response": {respond: func(*http.Request) (*http.Response, error) { return nil, refused }, want: refused},
		"panic":       {respond: func(*http.Request) (*http.Response, error) { panic("boom") }, text: "panicked: boom"},
	} {
		m := newMirrored(t, `{"version":"new"}`, routing.MirrorConfig{}, c.respond)
		_, err := sent(m.Router, held(t, m, hello))
		require.NoError(t, err)
		m.drain(t)
		require.Len(t, m.events, 1, name)
		switch err := m.events[0].Err; {
		case c.text != "":
			require.ErrorContains(t, err, c.text, name)
		default:
			require.ErrorIs(t, err, c.want, name)
		}
	}
}

func TestMirrorFaults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"version":"old"}`:             "routes[0].mirror.version",
		`{}`:                            "routes[0].mirror.version",
		`{"version":"new","share":0}`:   "routes[0].mirror.share: must be a number above 0",
		`{"version":"new","share":1.5}`: "routes[0].mirror.share: 1.5 is not within 0 and 1",
		`{"version":"new","shard":1}`:   "routes[0].mirror.shard: unknown field",
	} {
		_, err := routing.ParseTable([]byte(`{"routes":[{"version":"old","mirror":` + text + `}]}`))
		require.ErrorContains(t, err, want)
	}
	_, err := routing.New(routing.Config{
		Table: routetest.Table(t, `{"routes":[{"version":"old","mirror":{"version":"newer"}}]}`), Upstreams: routetest.Upstreams("old"),
	})
	require.ErrorContains(t, err, `routes[0].mirror.version: there is no upstream "newer"`)
	_, err = routing.New(routing.Config{Table: routetest.Table(t, `{"routes":[{"version":"old"}]}`), Upstreams: routetest.Upstreams("old"), Mirror: routing.MirrorConfig{Concurrent: -1}})
	require.ErrorContains(t, err, "Config.Mirror")
}
