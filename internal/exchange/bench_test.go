package exchange_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// layers wraps n layers around a transport, with all their hooks.
func layers(n int, next http.RoundTripper) http.RoundTripper {
	for range n {
		next = layer{next: next}
	}
	return next
}

// again is a body that is read many times.
type again struct{ strings.Reader }

func (*again) Close() error { return nil }

func repeating(data string) (transport, func()) {
	b := new(again)
	res := response(200, sse, nil) //nolint:bodyclose // it has none
	var copied http.Response
	return func(*http.Request) (*http.Response, error) {
		copied = *res
		copied.Body = b
		return &copied, nil
	}, func() { b.Reset(data) }
}

func BenchmarkAttempt(b *testing.B) {
	next, reset := repeating(whole)
	in := post(b.Context(), chat)
	p := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		reset()
		a, req := (&exchange.Exchange{Managed: true}).Begin(in)
		res, err := a.Do(req, next)
		for err == nil {
			_, err = res.Body.Read(p)
		}
		_ = res.Body.Close()
	}
}

// BenchmarkBytes counts how often each byte that passes is read by a lexer, whatever the number
// of layers.
func BenchmarkBytes(b *testing.B) {
	stream := strings.Repeat(text, 1000) + stop + done
	for name, prefetch := range map[string]bool{"plain": false, "prefetch": true} {
		b.Run(name, func(b *testing.B) {
			next, reset := repeating(stream)
			chain := layers(5, next)
			in := post(b.Context(), chat)
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			var passed, lexed int64
			for b.Loop() {
				reset()
				x := &exchange.Exchange{Managed: true, Limits: exchange.Limits{Prefetch: prefetch}}
				x.OnEnd(func(_ *exchange.Attempt, e *exchange.End) { lexed += e.Bytes }) // each of them scanned once
				a, req := x.Begin(in)
				res, err := a.Do(req, chain)
				if err != nil {
					b.Fatal(err)
				}
				a.Prefetch()
				n, _ := io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				passed += n
			}
			b.ReportMetric(float64(lexed)/float64(passed), "lexed/passed")
			require.Less(b, float64(lexed)/float64(passed), 1.05)
		})
	}
}

func TestAllocations(t *testing.T) { //nolint:paralleltest // it counts allocations
	const events = 1000
	p := make([]byte, 64)
	count := func(n int, filter exchange.Filter) float64 {
		next, reset := repeating(strings.Repeat(text, n) + stop)
		in := post(t.Context(), chat)
		return testing.AllocsPerRun(20, func() {
			reset()
			x := &exchange.Exchange{Managed: true, Limits: exchange.Limits{Idle: 1 << 40, Stall: 1 << 40}}
			a, req := x.Begin(in)
			x.OnEvent(func(*exchange.Attempt, int64) {})
			a.OnEvent(func(int64, time.Time) {})
			a.SetFilter(filter)
			res, err := a.Do(req, next)
			for err == nil {
				_, err = res.Body.Read(p)
			}
			_ = res.Body.Close()
		})
	}
	for name, filter := range map[string]exchange.Filter{"plain": nil, "filter": keep} {
		assert.InDelta(t, count(10, filter), count(10+events, filter), 4, "%s: an event costs nothing", name)
	}
	assert.LessOrEqual(t, count(1, nil), 20.0)
	t.Log("an attempt:", count(1, nil), "allocations")
}
