package proxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/require"
)

// all returns every event in order.
func (e *events) all() []proxy.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]proxy.Event(nil), e.list...)
}

// requireEvents compares all fields but Err, which must be set exactly if the outcome is not
// Success.
func requireEvents(t *testing.T, want, got []proxy.Event) {
	t.Helper()
	for i := range got {
		if got[i].Outcome == proxy.Success {
			require.NoError(t, got[i].Err, "event %d", i)
		} else {
			require.Error(t, got[i].Err, "event %d", i)
		}
		got[i].Err = nil
	}
	require.Equal(t, want, got)
}

// TestEvents in the bubble's time: every attempt, then the exchange.
func TestEvents(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for name, c := range map[string]struct {
		attempts []transport
		want     []proxy.Event
	}{
		"success": {
			[]transport{after(s, dripping(s, 3))},
			[]proxy.Event{
				{Kind: proxy.AttemptEnded, Attempt: 1, Endpoint: "e1", Status: 200, FirstByte: s, Duration: 4 * s, Bytes: 3},
				{Kind: proxy.Finished, Attempt: 1, Endpoint: "e1", Status: 200, FirstByte: s, Duration: 4 * s, Bytes: 3},
			},
		},
		"a client's error is a success": {
			[]transport{status(404)},
			[]proxy.Event{
				{Kind: proxy.AttemptEnded, Attempt: 1, Endpoint: "e1", Status: 404, Bytes: 2},
				{Kind: proxy.Finished, Attempt: 1, Endpoint: "e1", Status: 404, Bytes: 2},
			},
		},
		"a server's error is not": {
			[]transport{after(s, status(501))},
			[]proxy.Event{
				{Kind: proxy.AttemptEnded, Attempt: 1, Endpoint: "e1", Status: 501, Outcome: proxy.Failure, FirstByte: s, Duration: s, Bytes: 2},
				{Kind: proxy.Finished, Attempt: 1, Endpoint: "e1", Status: 501, Outcome: proxy.Failure, FirstByte: s, Duration: s, Bytes: 2},
			},
		},
		"the third attempt": {
			[]transport{after(s, fails(errDial)), after(2*s, status(503)), after(3*s, status(200))},
			[]proxy.Event{
				{Kind: proxy.AttemptEnded, Attempt: 1, Endpoint: "e1", Outcome: proxy.Failure, Duration: s},
				{Kind: proxy.AttemptEnded, Attempt: 2, Endpoint: "e2", Status: 503, Outcome: proxy.Failure, FirstByte: 2 * s, Duration: 2 * s},
				{Kind: proxy.AttemptEnded, Attempt: 3, Endpoint: "e3", Status: 200, FirstByte: 3 * s, Duration: 3 * s, Bytes: 2},
				{Kind: proxy.Finished, Attempt: 3, Endpoint: "e3", Status: 200, FirstByte: 6 * s, Duration: 6 * s, Bytes: 2},
			},
		},
		"no upstream": {
			[]transport{after(s, fails(errDial)), fails(errDial), fails(errDial)},
			[]proxy.Event{
				{Kind: proxy.AttemptEnded, Attempt: 1, Endpoint: "e1", Outcome: proxy.Failure, Duration: s},
				{Kind: proxy.AttemptEnded, Attempt: 2, Endpoint: "e2", Outcome: proxy.Failure},
				{Kind: proxy.AttemptEnded, Attempt: 3, Endpoint: "e3", Outcome: proxy.Failure},
				{Kind: proxy.Finished, Attempt: 3, Endpoint: "e3", Status: 502, Outcome: proxy.Failure, Duration: s},
			},
		},
		"cut": {
			[]transport{after(s, cutAfter("half"))},
			[]proxy.Event{
				{Kind: proxy.AttemptEnded, Attempt: 1, Endpoint: "e1", Status: 200, Outcome: proxy.Failure, FirstByte: s, Duration: s, Bytes: 4},
				{Kind: proxy.Finished, Attempt: 1, Endpoint: "e1", Status: 200, Outcome: proxy.Failure, FirstByte: s, Duration: s, Bytes: 4},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ev := newEvents()
				serve(newProxy(t, proxy.Config{OnEvent: ev.on, Retry: proxy.Retry{Backoff: -1}, Transport: transport(func(req *http.Request) (*http.Response, error) {
					attempt := exchange.Current(req.Context())
					attempt.Use("e" + string(rune('0'+attempt.Number())))
					return c.attempts[attempt.Number()-1](req)
				})}), request(t, http.MethodGet, nil))
				requireEvents(t, c.want, ev.all())
			})
		})
	}
}

// after responds like next, but later.
func after(d time.Duration, next transport) transport {
	return func(req *http.Request) (*http.Response, error) {
		<-time.After(d)
		return next(req)
	}
}

// cutAfter responds with a body that breaks after text.
func cutAfter(text string) transport {
	return func(*http.Request) (*http.Response, error) {
		res := newResponse(200, "")
		res.ContentLength = -1
		res.Body = io.NopCloser(io.MultiReader(strings.NewReader(text), broken{}))
		return res, nil
	}
}

// TestWaitsAreNotPartOfAnAttempt: the time between attempts belongs to the exchange.
func TestWaitsAreNotPartOfAnAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ev := newEvents()
		p := newProxy(t, proxy.Config{OnEvent: ev.on, Transport: status(503, "Retry-After", "2"), Retry: proxy.Retry{Attempts: 2}})
		serve(p, request(t, http.MethodGet, nil))
		all := ev.all()
		require.Len(t, all, 3)
		require.Zero(t, all[0].Duration)
		require.Zero(t, all[1].Duration)
		require.Equal(t, 2*time.Second, all[2].Duration)
	})
}

// TestEventContext: the callback may outlive the request's context, and gets its values.
func TestEventContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	ctx, leave := context.WithCancel(context.WithValue(t.Context(), key{}, "trace"))
	kinds := 0
	p := newProxy(t, proxy.Config{
		Transport: transport(func(*http.Request) (*http.Response, error) {
			leave()
			return nil, context.Canceled
		}),
		OnEvent: func(ctx context.Context, ev proxy.Event) {
			kinds++
			require.NoError(t, ctx.Err())
			require.Equal(t, "trace", ctx.Value(key{}))
			require.Equal(t, proxy.Canceled, ev.Outcome)
		},
	})
	serve(p, request(t, http.MethodGet, nil).WithContext(ctx))
	require.Equal(t, 2, kinds)
}

// TestPanicIsNoSuccess: whatever panics, the event reports a failed exchange.
func TestPanicIsNoSuccess(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]proxy.Config{
		"Rewrite":   {Transport: status(200), Rewrite: func(*gin.Context, *http.Request) { panic("oops") }},
		"Transport": {Transport: transport(func(*http.Request) (*http.Response, error) { panic("oops") })},
		"body":      {Transport: transport(panicking)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ev := newEvents()
			cfg.OnEvent = ev.on
			serve(newProxy(t, cfg), request(t, http.MethodGet, nil))
			got := ev.next(t)
			require.Equal(t, proxy.Failure, got.Outcome)
			require.Error(t, got.Err)
		})
	}
}

func panicking(*http.Request) (*http.Response, error) {
	res := newResponse(200, "")
	res.Body = io.NopCloser(readerFunc(func([]byte) (int, error) { panic("oops") }))
	return res, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestErrorHandler: it gets the cause, and its response is sent.
func TestErrorHandler(t *testing.T) {
	t.Parallel()
	cause := errors.New("the upstream's secret")
	var got error
	p := newProxy(t, proxy.Config{Transport: fails(cause), ErrorHandler: func(c *gin.Context, err error) {
		got = err
		c.AbortWithStatus(http.StatusTeapot)
	}})
	require.Equal(t, http.StatusTeapot, serve(p, request(t, http.MethodPost, nil)).Code)
	require.ErrorIs(t, got, cause)
	require.ErrorIs(t, got, proxy.ErrUpstream)

	w := serve(newProxy(t, proxy.Config{Transport: fails(cause)}), request(t, http.MethodPost, nil))
	require.NotContains(t, w.Body.String(), "secret")
}

func TestOutcomeNames(t *testing.T) {
	t.Parallel()
	require.Equal(t, "success failure canceled refused", strings.Join([]string{proxy.Success.String(), proxy.Failure.String(), proxy.Canceled.String(), proxy.Refused.String()}, " "))
}
