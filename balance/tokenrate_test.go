package balance_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	bodies "github.com/ginfer/ginfer/internal/body"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// beating is a stream with an event at an interval, as many as are left.
type beating struct {
	first, every time.Duration
	left         int
	event        string
	ctx          context.Context //nolint:containedctx // a body that ends with its request
}

func (b *beating) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	wait := b.every
	if b.first > 0 {
		wait, b.first = b.first, 0
	}
	select {
	case <-time.After(wait):
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
	b.left--
	return copy(p, b.event), nil
}

func (*beating) Close() error { return nil }

// paced responds with a stream that depends on the endpoint.
func paced(streams map[string]beating) transport {
	return named(func(req *http.Request) (*http.Response, error) {
		b := streams[req.URL.Hostname()]
		b.ctx = req.Context()
		if b.event == "" {
			b.event = tick
		}
		res := response(http.StatusOK, "")
		res.Header.Set("Content-Type", "text/event-stream; charset=utf-8")
		res.Body, res.ContentLength = &b, -1
		return res, nil
	})
}

// streamRequest returns a request for a stream.
func streamRequest(t *testing.T, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://any/v1/chat/completions", http.NoBody)
	require.NoError(t, err)
	bodies.Set(req, []byte(body))
	return req
}

const streamed = `{"model":"m","messages":[],"stream":true}`

// chosen counts the endpoints of the next n requests, each of which is only begun.
func chosen(t *testing.T, p *balance.Pool, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range n {
		res, err := p.RoundTrip(streamRequest(t, `{"model":"m"}`))
		require.NoError(t, err)
		got[res.Header.Get("X-Host")]++
		require.NoError(t, res.Body.Close())
	}
	return got
}

func TestTokenRate(t *testing.T) {
	t.Parallel()
	steady := beating{every: 20 * time.Millisecond, left: 500}
	tests := []struct {
		name    string
		other   beating // of endpoint e01; e00 is steady
		body    string
		pause   time.Duration // of the reader after each read
		less    bool          // e01 gets nothing
		slowest float64       // of e01, at most
	}{
		{name: "as fast", other: steady, body: streamed, slowest: 1.1},
		{name: "three times slower", other: beating{every: 60 * time.Millisecond, left: 500}, body: streamed, less: true, slowest: 4},
		{name: "comes to a halt", other: beating{first: 20 * time.Millisecond, every: time.Hour, left: 500}, body: streamed, less: true, slowest: 1000},
		{name: "has not begun", other: beating{first: time.Hour, left: 1}, body: streamed, less: true, slowest: 5},
		{name: "sends only heartbeats", other: beating{every: 20 * time.Millisecond, event: ": ping\n\n", left: 500}, body: streamed, less: true, slowest: 5},
		{name: "has not begun what is no stream", other: beating{first: time.Hour, left: 1}, body: `{"stream":false}`, slowest: 1},
		{name: "has a slower reader", other: beating{every: time.Millisecond, left: 500}, body: streamed, pause: time.Second, slowest: 1.1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, balance.Config{Endpoints: endpoints(2), Policy: balance.TokenRate(), Transport: paced(map[string]beating{"e00.test": steady, "e01.test": tt.other})})
				ctx, cancel := context.WithCancel(t.Context())
				for range 4 { // two at each
					res, err := p.RoundTrip(streamRequest(t, tt.body).WithContext(ctx)) //nolint:bodyclose // drain does it
					require.NoError(t, err)
					go drain(res, tt.pause)
				}
				advance(5 * time.Second)
				got := chosen(t, p, 20)
				if tt.less {
					assert.Zero(t, got["e01"])
				} else {
					assert.InDelta(t, 10, got["e01"], 10)
				}
				slow := status(t, p, "e01").Slowness
				assert.LessOrEqual(t, slow, tt.slowest)
				assert.Equal(t, tt.less, slow > 1.3, "slowness %v", slow)
				cancel()
				advance(10 * time.Second)
				chosen(t, p, 1)
				assert.InDelta(t, 1, status(t, p, "e01").Slowness, 0.01, "observations fade")
			})
		})
	}
}

// drain reads a response as slowly as a client does.
func drain(res *http.Response, pause time.Duration) {
	buf := make([]byte, 128)
	for {
		if _, err := res.Body.Read(buf); err != nil {
			break
		}
		if pause > 0 {
			<-time.After(pause)
		}
	}
	_ = res.Body.Close()
}

// However an exchange ends, it does not wait for a first event any more.
func TestTokenRateForgetsAnEnd(t *testing.T) {
	t.Parallel()
	ways := map[string]transport{
		"refused": failing(errRefused),
		"JSON":    fine,
		"panic":   func(*http.Request) (*http.Response, error) { panic("transport") },
		"switched": func(*http.Request) (*http.Response, error) {
			res := response(http.StatusSwitchingProtocols, "")
			res.Body = struct{ io.ReadWriteCloser }{}
			return res, nil
		},
		"empty": paced(map[string]beating{"e00.test": {}}),
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, balance.Config{Endpoints: endpoints(1), Policy: balance.TokenRate(), Transport: way, PanicThreshold: -1, Outlier: balance.Outlier{MaxEjected: -1}})
				func() {
					defer func() { _ = recover() }()
					res, err := p.RoundTrip(streamRequest(t, streamed))
					if err == nil && name == "empty" {
						_, err = io.Copy(io.Discard, res.Body)
						require.NoError(t, errors.Join(err, res.Body.Close()))
					}
				}()
				advance(time.Minute)
				balance.Pick(p, streamRequest(t, streamed))
				assert.InDelta(t, 1, status(t, p, "e00").Slowness, 1e-9)
			})
		})
	}
}
