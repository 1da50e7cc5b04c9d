package proxy_test

import (
	"cmp"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The formats of a client's timeout.
func TestDeadlineForms(t *testing.T) {
	t.Parallel()
	for value, want := range map[[2]string]time.Duration{
		{"X-Request-Timeout", "2"}: 2 * time.Second, {"X-Request-Timeout", "0.5"}: 500 * time.Millisecond, {"X-Request-Timeout", "1500ms"}: 1500 * time.Millisecond,
		{"X-Request-Timeout", "1m30s"}: 90 * time.Second, {"X-Request-Timeout", "1e30"}: 2 * time.Minute, {"X-Request-Timeout", " 3 "}: 3 * time.Second,
		{"Grpc-Timeout", "1H"}: 2 * time.Minute, {"Grpc-Timeout", "1M"}: time.Minute, {"Grpc-Timeout", "3S"}: 3 * time.Second,
		{"Grpc-Timeout", "250m"}: 250 * time.Millisecond, {"Grpc-Timeout", "2000000u"}: 2 * time.Second, {"Grpc-Timeout", "99999999n"}: 99999999,
		{"X-Request-Timeout", ""}: -1, {"X-Request-Timeout", "0"}: -1, {"X-Request-Timeout", "-1"}: -1, {"X-Request-Timeout", "NaN"}: -1, {"X-Request-Timeout", "soon"}: -1,
		{"X-Request-Timeout", "0s"}: -1, {"Grpc-Timeout", "1"}: -1, {"Grpc-Timeout", "S"}: -1, {"Grpc-Timeout", "123456789S"}: -1, {"Grpc-Timeout", "1s"}: -1,
		{"Grpc-Timeout", "-1S"}: -1, {"Grpc-Timeout", "0S"}: -1,
	} {
		t.Run(value[0]+"="+value[1], func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newProxy(t, proxy.Config{Transport: transport(silent), Timeouts: proxy.Timeouts{FirstByte: -1, Total: 2 * time.Minute}})
				req := chatRequest(t, true)
				req.Header.Set(value[0], value[1])
				start := time.Now()
				w := serve(p, req)
				if want < 0 {
					assert.Equal(t, 400, w.Code)
					assert.Contains(t, w.Body.String(), value[0])
					return
				}
				assert.Equal(t, 504, w.Code)
				assert.Equal(t, want, time.Since(start))
			})
		})
	}
}

// The remaining time is sent to each upstream, in the headers that the client used.
func TestDeadlineIsPassedOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []string
		tr := transport(func(req *http.Request) (*http.Response, error) {
			got = append(got, req.Header.Get("X-Request-Timeout")+","+req.Header.Get("Grpc-Timeout"))
			return after(time.Second, status(503))(req)
		})
		p := newProxy(t, proxy.Config{Transport: tr, Retry: proxy.Retry{Repeat: proxy.Always, Backoff: -1}})
		req := chatRequest(t, true)
		req.Header.Set("X-Request-Timeout", "10")
		serve(p, req)
		assert.Equal(t, []string{"10.000,", "9.000,", "8.000,"}, got)
		got = nil
		req = chatRequest(t, true)
		req.Header.Set("X-Request-Timeout", "20s")
		req.Header.Set("Grpc-Timeout", "5S")
		serve(p, req)
		assert.Equal(t, []string{"5.000,5000m", "4.000,4000m", "3.000,3000m"}, got, "the shorter one applies")
		got = nil
		serve(p, chatRequest(t, true))
		assert.Equal(t, []string{",", ",", ","}, got)
	})
}

// An attempt is not started if most of its class would not respond in time.
func TestTooLittleTimeLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := &calls{next: respond(2*time.Second, "text/event-stream", io.EOF, text(whole))}
		ev := newEvents()
		p := newProxy(t, proxy.Config{Transport: tr, OnEvent: ev.on, Retry: proxy.Retry{Repeat: proxy.Always, Backoff: -1}})
		within := func(s string) (int, string) {
			req := chatRequest(t, true)
			req.Header.Set("X-Request-Timeout", s)
			w := serve(p, req)
			return w.Code, w.Body.String()
		}
		code, _ := within("1")
		assert.Equal(t, 504, code, "nothing is known yet: the attempt is made")
		require.Len(t, tr.at, 1)
		for range 20 {
			code, _ = within("30")
			require.Equal(t, 200, code)
		}
		code, body := within("1")
		assert.Equal(t, 504, code)
		assert.Contains(t, body, "deadline_too_close")
		assert.Len(t, tr.at, 21, "not begun")
		tr.next = after(2*time.Second, status(503))
		code, _ = within("5")
		assert.Equal(t, 503, code)
		assert.Len(t, tr.at, 23, "a third attempt would have had one second")
	})
}

// A stream that stops is ended according to its own pace, but not too early.
func TestStall(t *testing.T) {
	t.Parallel()
	token := "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"
	for name, c := range map[string]struct {
		pace  time.Duration
		limit proxy.Timeouts
		count int
		want  time.Duration // of silence
	}{
		"a fast one":               {pace: 20 * time.Millisecond, count: 100, want: 15 * time.Second},
		"a slow one":               {pace: 3 * time.Second, count: 100, want: 30 * time.Second},
		"a very slow one":          {pace: 8 * time.Second, count: 100, want: time.Minute},
		"one that has just begun":  {pace: 20 * time.Millisecond, count: 5, want: time.Minute},
		"off":                      {pace: 20 * time.Millisecond, count: 100, limit: proxy.Timeouts{Stall: -1}, want: time.Minute},
		"own":                      {pace: 20 * time.Millisecond, count: 100, limit: proxy.Timeouts{Stall: time.Second}, want: time.Second},
		"without a limit but this": {pace: 20 * time.Millisecond, count: 100, limit: proxy.Timeouts{Idle: -1}, want: 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var pieces []piece
				for range c.count {
					pieces = append(pieces, piece{c.pace, token})
				}
				ev := newEvents()
				c.limit.Idle, c.limit.Stall = cmp.Or(c.limit.Idle, time.Minute), cmp.Or(c.limit.Stall, 15*time.Second)
				start := time.Now()
				serve(newProxy(t, proxy.Config{Transport: streams(nil, pieces...), Timeouts: c.limit, OnEvent: ev.on}), chatRequest(t, true))
				assert.Equal(t, time.Duration(c.count)*c.pace+c.want, time.Since(start))
				e := ev.next(t)
				assert.Equal(t, proxy.Failure, e.Outcome)
				require.ErrorIs(t, e.Err, proxy.ErrTimeout)
			})
		})
	}
}

// Whatever fails, extra attempts remain a fifth of the requests.
func TestAmplification(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]transport{
		"refused": fails(errDial), "503": status(503), "an error event": streams(io.EOF, text(failed)), "empty": streams(io.EOF),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				below := &chained{next: next}
				p := newProxy(t, proxy.Config{Transport: below, Retry: proxy.Retry{Repeat: proxy.Always, Backoff: -1}, Hedge: &proxy.Hedge{}})
				const requests = 3000
				for range requests {
					serve(p, chatRequest(t, true))
					<-time.After(10 * time.Millisecond)
				}
				assert.LessOrEqual(t, below.calls, requests*121/100)
				assert.Greater(t, below.calls, requests*110/100, "the budget is used")
			})
		})
	}
}

// chained repeats an attempt within the budget, as a fallback chain would.
type chained struct {
	next  transport
	calls int
}

func (c *chained) RoundTrip(req *http.Request) (*http.Response, error) {
	for {
		a, req := exchange.Start(req)
		c.calls++
		res, err := a.Do(req, c.next)
		a.SetOthers(2)
		if x := a.Exchange(); x.Repeats(a, a.Verdict()) || !x.Spend() {
			return res, err
		}
		if err == nil {
			_ = res.Body.Close()
		}
	}
}
