package balance_test

import (
	"context"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// read is one read of a scripted stream, after a pause.
type read struct {
	after time.Duration
	text  string
}

// scripted is a stream with given reads, which then waits for its request's end.
type scripted struct {
	reads []read
	ends  bool
	ctx   context.Context //nolint:containedctx // a body that ends with its request
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(s.reads) == 0 {
		if s.ends {
			return 0, io.EOF
		}
		<-s.ctx.Done()
		return 0, s.ctx.Err()
	}
	next := s.reads[0]
	s.reads = s.reads[1:]
	select {
	case <-time.After(next.after):
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
	if next.text == "panic" {
		panic(next.text)
	}
	return copy(p, next.text), nil
}

func (*scripted) Close() error { return nil }

// streams responds to each request with the endpoint's stream.
func streams(give func(endpoint string, req *http.Request) (header http.Header, s scripted)) transport {
	return named(func(req *http.Request) (*http.Response, error) {
		res := response(http.StatusOK, "")
		header, s := give(strings.TrimSuffix(req.URL.Hostname(), ".test"), req)
		s.ctx = req.Context()
		res.Body, res.ContentLength = &s, -1
		maps.Copy(res.Header, header)
		res.Header.Set("Content-Type", "text/event-stream")
		return res, nil
	})
}

const tick = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n"

// steadily returns an event every 20 ms.
func steadily(n int) (list []read) {
	for range n {
		list = append(list, read{20 * time.Millisecond, tick})
	}
	return list
}

func tokenRatePool(t *testing.T, n int, tr transport) *balance.Pool {
	t.Helper()
	return newPool(t, balance.Config{Endpoints: endpoints(n), Policy: balance.TokenRate(), Transport: tr})
}

// begin sends a request for a stream, and reads the response concurrently.
func begin(ctx context.Context, t *testing.T, p *balance.Pool) (host string) {
	t.Helper()
	res, err := p.RoundTrip(streamRequest(t, streamed).WithContext(ctx)) //nolint:bodyclose,contextcheck // swallow does it; it has the context then
	require.NoError(t, err)
	go swallow(res)
	return res.Header.Get("X-Host")
}

// swallow reads a response as fast as it can.
func swallow(res *http.Response) {
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
}

// A single stream that is stuck, for its own reasons, does not exclude an endpoint.
func TestTokenRateStuckStream(t *testing.T) {
	t.Parallel()
	tests := map[string][]read{
		"before its first event": nil,
		"after it":               {{20 * time.Millisecond, tick}},
	}
	for name, reads := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				stuck := ""
				p := tokenRatePool(t, 2, streams(func(host string, _ *http.Request) (http.Header, scripted) {
					if stuck == "" {
						stuck = host
						return nil, scripted{reads: reads}
					}
					return nil, scripted{reads: steadily(100), ends: true}
				}))
				ctx, cancel := context.WithCancel(t.Context())
				begin(ctx, t, p)
				got := map[string]int{}
				for range 600 { // a minute
					for range 2 {
						got[begin(ctx, t, p)]++
					}
					advance(100 * time.Millisecond)
				}
				assert.Greater(t, got[stuck], 300)
				cancel()
				advance(5 * time.Second)
			})
		})
	}
}

// Nor does it after it has ended.
func TestTokenRateStuckStreamEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stuck := ""
		p := tokenRatePool(t, 2, streams(func(host string, _ *http.Request) (http.Header, scripted) {
			if stuck == "" {
				stuck = host
				return nil, scripted{reads: []read{{20 * time.Millisecond, tick}}}
			}
			return nil, scripted{reads: steadily(5000), ends: true}
		}))
		ctx, cancel := context.WithCancel(t.Context())
		begin(ctx, t, p)
		advance(10 * time.Minute)
		cancel()
		ctx, cancel = context.WithCancel(t.Context())
		for range 4 {
			begin(ctx, t, p)
		}
		advance(2500 * time.Millisecond)
		balance.Pick(p, streamRequest(t, streamed))
		assert.InDelta(t, 1, status(t, p, stuck).Slowness, 0.5)
		cancel()
		advance(time.Second)
	})
}

// Events that were buffered while the reader was busy do not make the other endpoints look slow.
func TestTokenRateOfABacklog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		backlog := []read{{20 * time.Millisecond, tick}, {20 * time.Millisecond, tick}}
		for range 100 {
			backlog = append(backlog, read{time.Microsecond, strings.Repeat(tick, 20)})
		}
		p := tokenRatePool(t, 2, streams(func(host string, req *http.Request) (http.Header, scripted) {
			if req.Header.Get("X-Slow") != "" {
				return nil, scripted{reads: append(backlog, steadily(500)...), ends: true}
			}
			return nil, scripted{reads: steadily(500), ends: true}
		}))
		ctx, cancel := context.WithCancel(t.Context())
		for range 8 {
			begin(ctx, t, p)
		}
		advance(time.Second)
		req := streamRequest(t, streamed).WithContext(ctx)
		req.Header.Set("X-Slow", "1")
		res, err := p.RoundTrip(req) //nolint:bodyclose // swallow does it
		require.NoError(t, err)
		buf := make([]byte, 1024)
		_, err = res.Body.Read(buf)
		require.NoError(t, err)
		advance(2 * time.Second)
		go swallow(res)
		advance(60 * time.Millisecond)
		assertAlike(t, p, 0.2)
		cancel()
		advance(5 * time.Second)
	})
}

// The content of an event does not count.
func TestTokenRateCountsEvents(t *testing.T) {
	t.Parallel()
	long := `data: {"choices":[{"delta":{"content":"` + strings.Repeat("data:", 20) + `"}}]}` + "\n\n"
	synctest.Test(t, func(t *testing.T) {
		p := tokenRatePool(t, 2, streams(func(host string, _ *http.Request) (http.Header, scripted) {
			text := "event: x\r\n" + tick
			if host == "e01" {
				text = long
			}
			reads := steadily(500)
			for i := range reads {
				reads[i].text = text
			}
			return nil, scripted{reads: reads, ends: true}
		}))
		ctx, cancel := context.WithCancel(t.Context())
		for range 4 {
			begin(ctx, t, p)
		}
		advance(2 * time.Second)
		assertAlike(t, p, 0.1)
		cancel()
		advance(5 * time.Second)
	})
}

// The pace of a compressed stream is unknown.
func TestTokenRateOfCompressedStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := tokenRatePool(t, 2, streams(func(host string, _ *http.Request) (http.Header, scripted) {
			reads := steadily(500)
			for i := range reads {
				reads[i].text = "\x1f\x8b"
			}
			return http.Header{"Content-Encoding": {"gzip"}}, scripted{reads: reads, ends: true}
		}))
		ctx, cancel := context.WithCancel(t.Context())
		begin(ctx, t, p)
		advance(9 * time.Second)
		assertAlike(t, p, 0.01)
		cancel()
		advance(5 * time.Second)
	})
}

// A body that panics while it is read is not read any more.
func TestTokenRateForgetsAPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := true
		p := tokenRatePool(t, 2, streams(func(string, *http.Request) (http.Header, scripted) {
			if first {
				first = false
				return nil, scripted{reads: []read{{0, tick}, {0, "panic"}}}
			}
			return nil, scripted{reads: steadily(1000), ends: true}
		}))
		res, err := p.RoundTrip(streamRequest(t, streamed)) //nolint:bodyclose // below
		require.NoError(t, err)
		require.Panics(t, func() { _, _ = io.Copy(io.Discard, res.Body) })
		require.NoError(t, res.Body.Close())
		for range 4 {
			begin(t.Context(), t, p)
		}
		advance(10 * time.Second)
		assertAlike(t, p, 0.1)
		advance(30 * time.Second)
	})
}

// However long ago the last event was, there is an endpoint to use.
func TestTokenRateForgetsAllEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for ms := 371_500; ms < 373_500; ms += 50 {
			second := false
			p := tokenRatePool(t, 2, streams(func(string, *http.Request) (http.Header, scripted) {
				if second {
					return nil, scripted{reads: []read{{0, tick}}}
				}
				return nil, scripted{reads: steadily(20), ends: true}
			}))
			ctx, cancel := context.WithCancel(t.Context())
			begin(ctx, t, p)
			advance(time.Second)
			second = true
			advance(time.Duration(ms)*time.Millisecond - time.Second)
			begin(ctx, t, p) // its second event never comes
			advance(time.Second)
			for range 2 {
				balance.Pick(p, streamRequest(t, streamed))
			}
			for _, s := range p.Status() {
				assert.Less(t, s.Slowness, 1e6, "after %d ms", ms)
				assert.Positive(t, s.Slowness, "after %d ms", ms)
			}
			cancel()
			advance(time.Second)
		}
	})
}

// A wall clock that is set during a read does not change the time read.
func TestTokenRateWhenTheClockIsSet(t *testing.T) {
	t.Parallel()
	const hour, gap = int64(time.Hour), int64(20 * time.Millisecond)
	tests := []struct {
		name             string
		last, begin, now int64
		want             bool
	}{
		{"not", hour, hour + 1, hour + gap, true},
		{"back, before the read", 2 * hour, hour, hour + gap, false},
		{"back, within the read", 2 * hour, 2*hour + 1, hour + gap, false},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, balance.IsEvidence(tt.last, tt.begin, tt.now), tt.name)
	}
}

// A GetBody that panics leaves nothing behind.
func TestTokenRateGetBodyPanics(t *testing.T) {
	t.Parallel()
	p := tokenRatePool(t, 1, named(fine))
	req := streamRequest(t, streamed)
	req.Body = io.NopCloser(strings.NewReader(streamed))
	req.GetBody = func() (io.ReadCloser, error) { panic("body") }
	require.Panics(t, func() { _, _ = p.RoundTrip(req) }) //nolint:bodyclose // there is none
	assert.Zero(t, status(t, p, "e00").Inflight)
}

// assertAlike looks again, and finds no endpoint slower than the others.
func assertAlike(t *testing.T, p *balance.Pool, delta float64) {
	t.Helper()
	balance.Pick(p, streamRequest(t, streamed))
	for _, s := range p.Status() {
		assert.InDelta(t, 1, s.Slowness, delta, s.Name)
	}
}
