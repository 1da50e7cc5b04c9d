package exchange_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type wrapped struct {
	io.Reader
	io.Closer
}

func TestBodyIsWrappedOnceWhateverStandsBetween(t *testing.T) {
	t.Parallel()
	for name, foreign := range map[string]func(next http.RoundTripper) transport{
		"nothing": func(next http.RoundTripper) transport { return next.RoundTrip },
		"wraps": func(next http.RoundTripper) transport {
			return func(r *http.Request) (*http.Response, error) {
				res, err := next.RoundTrip(r)
				res.Body = wrapped{res.Body, res.Body}
				return res, err
			}
		},
		"replaces the body": func(next http.RoundTripper) transport {
			return func(r *http.Request) (*http.Response, error) {
				res, err := next.RoundTrip(r)
				all, _ := io.ReadAll(res.Body)
				_ = res.Body.Close()
				res.Body = io.NopCloser(strings.NewReader(string(all)))
				return res, err
			}
		},
		"another response": func(next http.RoundTripper) transport {
			return func(r *http.Request) (*http.Response, error) {
				res, err := next.RoundTrip(r)
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				return response(200, sse, body(whole)), err
			}
		},
	} {
		src := body(whole)
		a, req, c := begin(t, new(exchange.Exchange), chat)
		var inner http.RoundTripper = transport(func(*http.Request) (*http.Response, error) { return response(200, sse, src), nil })
		for range 3 {
			inner = layer{next: foreign(inner)}
		}
		res, err := a.Do(req, inner)
		require.NoError(t, err)
		assert.Equal(t, whole, readAll(t, res), name)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, 1, src.closed, name)
		assert.EqualValues(t, len(whole), endOf(a).Bytes, "%s: it is counted once", name)
		assert.EqualValues(t, 1, endOf(a).Usage.Output)
		assert.Equal(t, 1, c.Attempts())
		c.requireBalanced(t)
	}
}

func TestForeignErrorAfterAResponse(t *testing.T) {
	t.Parallel()
	a, req, c := begin(t, new(exchange.Exchange), chat)
	_, err := a.Do(req, transport(func(r *http.Request) (*http.Response, error) { //nolint:bodyclose // there is none
		res, err := layer{next: give(200, sse, whole)}.RoundTrip(r)
		require.NoError(t, err)
		defer res.Body.Close()
		return nil, errLost
	}))
	require.ErrorIs(t, err, errLost)
	assert.Equal(t, "canceled nobody", show(endOf(a).Verdict), "the first end stands")
	c.requireBalanced(t)
}

func TestReadAfterClose(t *testing.T) {
	t.Parallel()
	for _, prefetch := range []bool{false, true} {
		src := &source{pieces: []string{text, stop}}
		a, req, _ := begin(t, &exchange.Exchange{Limits: exchange.Limits{Prefetch: prefetch}}, chat)
		res, err := a.Do(req, transport(func(*http.Request) (*http.Response, error) { return response(200, sse, src), nil }))
		require.NoError(t, err)
		a.Prefetch()
		require.NoError(t, res.Body.Close())
		n, err := res.Body.Read(make([]byte, 10))
		assert.Zero(t, n)
		require.ErrorIs(t, err, http.ErrBodyReadAfterClose)
		assert.Zero(t, src.reads)
	}
}

func TestEndIsJudgedAtTheEndOfTheBody(t *testing.T) {
	t.Parallel()
	a, req, _ := begin(t, new(exchange.Exchange), chat)
	res, err := a.Do(req, give(200, sse, whole))
	require.NoError(t, err)
	readAll(t, res)
	require.NotNil(t, endOf(a))
	a.Finish(errLost)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, "success nobody", show(endOf(a).Verdict))
}

func TestBodyThatIsNeverClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, managed := range []bool{false, true} {
			ctx, cancel := context.WithCancel(t.Context())
			c := count(&exchange.Exchange{Managed: managed})
			a, req := c.Begin(post(ctx, chat))
			res, err := a.Do(req, give(200, sse, whole))
			require.NoError(t, err)
			cancel()
			synctest.Wait()
			if managed {
				require.Nil(t, endOf(a))
				require.NoError(t, res.Body.Close())
			}
			assert.Equal(t, "canceled client", show(endOf(a).Verdict))
			c.requireBalanced(t)
		}
	})
}

func TestContextThatEndedBeforeTheAttempt(t *testing.T) {
	t.Parallel()
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		ended := make(chan struct{})
		x := new(exchange.Exchange)
		x.OnEnd(func(*exchange.Attempt, *exchange.End) { close(ended) })
		a, req := x.Begin(post(ctx, chat))
		_, err := a.Do(req, fail(context.Canceled)) //nolint:bodyclose // there is none
		require.Error(t, err)
		<-ended
		assert.Equal(t, "canceled client", show(endOf(a).Verdict))
	}
}

func TestResponseWithoutBody(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		method string
		status int
		body   io.ReadCloser
	}{
		"nil": {"POST", 200, nil}, "none": {"GET", 200, http.NoBody}, "HEAD": {"HEAD", 200, body("")},
		"204": {"POST", 204, body("")}, "304": {"GET", 304, body("")}, "500": {"POST", 500, nil},
	} {
		a, req, c := begin(t, new(exchange.Exchange), "/other")
		req.Method = tt.method
		res, err := a.Do(req, transport(func(*http.Request) (*http.Response, error) { return response(tt.status, "", tt.body), nil }))
		require.NoError(t, err)
		require.NotNil(t, endOf(a), "%s: it ends with its head", name)
		assert.True(t, endOf(a).Whole)
		assert.Empty(t, readAll(t, res))
		require.NoError(t, res.Body.Close())
		c.requireBalanced(t)
	}
}

// blocking blocks in Read until it is closed, as a body of HTTP/2 does.
type blocking struct {
	reading chan struct{}
	closed  chan struct{}
}

func (b *blocking) Read([]byte) (int, error) {
	close(b.reading)
	<-b.closed
	return 0, errors.New("closed")
}

func (b *blocking) Close() error { close(b.closed); return nil }

func TestCloseBesideRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, hold := range []time.Duration{-1, 0, time.Second} {
			b := &blocking{make(chan struct{}), make(chan struct{})}
			a, req, c := begin(t, &exchange.Exchange{Limits: exchange.Limits{Prefetch: hold >= 0, Hold: hold}}, chat)
			res, err := a.Do(req, transport(func(*http.Request) (*http.Response, error) { return response(200, sse, b), nil })) //nolint:bodyclose // it is, beside the read
			require.NoError(t, err)
			over := make(chan error)
			go func() {
				if hold >= 0 {
					a.Prefetch()
				}
				_, err := res.Body.Read(make([]byte, 10))
				over <- err
			}()
			<-b.reading
			require.NoError(t, res.Body.Close())
			require.Error(t, <-over)
			assert.Equal(t, "canceled nobody", show(endOf(a).Verdict))
			c.requireBalanced(t)
		}
	})
}

func TestCloseBesideReadOfWhatWasReadAhead(t *testing.T) {
	t.Parallel()
	for range 200 {
		a, req, c := begin(t, &exchange.Exchange{Limits: exchange.Limits{Prefetch: true}}, chat)
		res, err := a.Do(req, give(200, sse, text, stop, done)) //nolint:bodyclose // as above
		require.NoError(t, err)
		a.Prefetch()
		over := make(chan struct{})
		go func() {
			defer close(over)
			p := make([]byte, 3)
			for err := error(nil); err == nil; {
				_, err = res.Body.Read(p)
			}
		}()
		require.NoError(t, res.Body.Close())
		<-over
		c.requireBalanced(t)
	}
}

func TestPanicOfTheBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, hold := range []time.Duration{-1, 0, time.Second} {
			for _, late := range []bool{false, true} {
				wait := time.Duration(0)
				if late {
					wait = 2 * time.Second
				}
				src := &source{panics: http.ErrAbortHandler, before: func() { <-time.After(wait) }}
				a, req, c := begin(t, &exchange.Exchange{Limits: exchange.Limits{Prefetch: hold >= 0, Hold: hold}}, chat)
				res, err := a.Do(req, transport(func(*http.Request) (*http.Response, error) { return response(200, sse, src), nil })) //nolint:bodyclose // it is, after the panic
				require.NoError(t, err)
				require.PanicsWithValue(t, http.ErrAbortHandler, func() {
					a.Prefetch()
					_, _ = res.Body.Read(make([]byte, 10))
				})
				assert.Equal(t, "failure gateway", show(endOf(a).Verdict))
				require.NoError(t, res.Body.Close())
				assert.Equal(t, 1, src.closed)
				c.requireBalanced(t)
			}
		}
	})
}
