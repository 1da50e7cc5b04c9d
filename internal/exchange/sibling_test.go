package exchange_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type valueKey string

func TestStartWithoutAnExchange(t *testing.T) {
	t.Parallel()
	a, req := exchange.Start(post(t.Context(), chat))
	assert.Same(t, a, exchange.Current(req.Context()))
	assert.Same(t, a.Exchange(), exchange.From(req.Context()))
	assert.Equal(t, llm.Chat, a.API())
	b, same := exchange.Start(req)
	assert.Same(t, a, b, "it is in progress")
	assert.Same(t, req, same)
	a.Finish(nil)
	assert.Equal(t, "canceled nobody", show(endOf(a).Verdict))

	x, in := exchange.Of(post(t.Context(), "/other"))
	again, _ := exchange.Of(in)
	assert.Same(t, x, again)
	x.API = llm.Messages
	a, _ = exchange.Start(in)
	assert.Same(t, x, a.Exchange())
	assert.Equal(t, llm.Messages, a.API(), "the path says nothing")
	a.Finish(nil)
	assert.Zero(t, (*exchange.Attempt)(nil).ConnectTimeout())
}

func TestAttemptAfterAnEndedOne(t *testing.T) {
	t.Parallel()
	type failure struct {
		name string
		do   func(a *exchange.Attempt, req *http.Request)
	}
	for _, f := range []failure{
		{"error", func(a *exchange.Attempt, req *http.Request) { _, _ = a.Do(req, fail(errLost)) }}, //nolint:bodyclose // there is none, or it is closed elsewhere
		{"cause", func(a *exchange.Attempt, req *http.Request) {
			a.Cancel(exchange.ErrTimeout)
			_, _ = a.Do(req, fail(errLost)) //nolint:bodyclose // there is none, or it is closed elsewhere
		}},
		{"response", func(a *exchange.Attempt, req *http.Request) {
			res, _ := a.Do(req, give(500, "", "no"))
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			outer, leave := context.WithCancelCause(context.WithValue(t.Context(), valueKey("outer"), 1))
			defer leave(nil)
			c := count(&exchange.Exchange{Limits: exchange.Limits{FirstByte: time.Minute}})
			a, req := c.Begin(post(outer, chat))
			a.SetPatience(time.Second)

			// A layer below has a context of its own.
			ctx, cancel := context.WithCancel(context.WithValue(req.Context(), valueKey("below"), 2))
			defer cancel()
			req = req.WithContext(ctx)
			f.do(a, req)
			require.NotNil(t, endOf(a))

			last := a
			for n := 2; n <= 4; n++ {
				b, next := exchange.Start(req)
				require.NotSame(t, last, b)
				assert.Equal(t, n, b.Number())
				assert.Same(t, b, a.Latest())
				assert.Same(t, b, exchange.Current(next.Context()))
				assert.Equal(t, []any{1, 2}, []any{next.Context().Value(valueKey("outer")), next.Context().Value(valueKey("below"))})
				require.NoError(t, next.Context().Err())
				require.NoError(t, context.Cause(next.Context()))
				child, stop := context.WithCancel(next.Context())
				if n == 4 {
					leave(io.ErrClosedPipe)
					<-child.Done()
					for _, ctx := range []context.Context{child, next.Context(), b.Context()} {
						require.ErrorIs(t, context.Cause(ctx), io.ErrClosedPipe)
						require.ErrorIs(t, ctx.Err(), context.Canceled)
					}
				} else {
					b.Cancel(exchange.ErrBeaten)
					<-child.Done()
					require.ErrorIs(t, context.Cause(child), exchange.ErrBeaten)
					require.NoError(t, outer.Err())
				}
				stop()
				_, err := b.Do(next, fail(errLost)) //nolint:bodyclose // there is none, or it is closed elsewhere
				require.Error(t, err)
				last, req = b, next
			}
			assert.Equal(t, 4, c.Attempts())
			c.mu.Lock()
			defer c.mu.Unlock()
			assert.Len(t, c.ends, 4)
		})
	}
}

func TestPatienceIsOfOneAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := count(&exchange.Exchange{Limits: exchange.Limits{FirstByte: time.Minute}})
		a, req := c.Begin(post(t.Context(), chat))
		a.SetPatience(time.Second)
		start := time.Now()
		_, err := a.Do(req, script{head: time.Hour}) //nolint:bodyclose // there is none, or it is closed elsewhere
		require.Error(t, err)
		assert.Equal(t, time.Second, time.Since(start))

		b, next := exchange.Start(req)
		start = time.Now()
		_, err = b.Do(next, script{head: time.Hour}) //nolint:bodyclose // there is none, or it is closed elsewhere
		require.Error(t, err)
		assert.Equal(t, time.Minute, time.Since(start), "the exchange's limits apply again")
		c.requireBalanced(t)
	})
}

func TestPatienceBoundsTheContentOfWhatIsKeptBack(t *testing.T) {
	t.Parallel()
	for _, first := range []time.Duration{0, 500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			c := count(&exchange.Exchange{Limits: exchange.Limits{FirstByte: first, Prefetch: true}})
			a, req := c.Begin(post(t.Context(), chat))
			a.SetPatience(time.Second)
			start := time.Now()
			res, err := a.Do(req, script{kind: sse, parts: []part{{400 * time.Millisecond, ":\n\n"}, {400 * time.Millisecond, ":\n\n"}, {time.Hour, text}}})
			require.NoError(t, err)
			a.Prefetch()
			assert.Equal(t, time.Second, time.Since(start))
			assert.Equal(t, "failure endpoint repeatable", show(a.Verdict()))
			require.NoError(t, res.Body.Close())
			c.requireBalanced(t)
		})
	}
}

func TestRepeatByAForeignLayer(t *testing.T) {
	t.Parallel()
	// The outer layer's attempt fails within the foreign layer, which repeats it.
	calls := 0
	inner := layer{next: transport(func(r *http.Request) (*http.Response, error) {
		switch calls++; calls {
		case 1, 3:
			return nil, errLost
		case 2:
			return response(503, "", body("no")), nil
		}
		require.NoError(t, r.Context().Err())
		return response(200, sse, body(whole)), nil
	})}
	retry := transport(func(r *http.Request) (*http.Response, error) {
		for {
			res, err := inner.RoundTrip(r)
			if err == nil && res.StatusCode == http.StatusOK {
				return res, nil
			}
			if err == nil {
				require.NoError(t, res.Body.Close())
			}
			require.NoError(t, r.Context().Err(), "it is still in use")
		}
	})
	c := count(new(exchange.Exchange))
	a, req := c.Begin(post(t.Context(), chat))
	res, err := a.Do(req, retry)
	require.NoError(t, err)
	assert.Equal(t, whole, readAll(t, res))
	require.NoError(t, res.Body.Close())
	assert.Equal(t, 4, a.Latest().Number())
	assert.Equal(t, "success nobody", show(a.Latest().Verdict()))
	assert.Equal(t, "failure endpoint repeatable", show(a.Verdict()))
	require.Error(t, a.Context().Err(), "it is released with the last one")
	c.requireBalanced(t)
}

func TestHedge(t *testing.T) {
	t.Parallel()
	c := count(new(exchange.Exchange))
	in := post(t.Context(), chat)
	a, _ := c.Begin(in)
	b, req := c.BeginHedge(in)
	assert.Equal(t, []bool{false, true}, []bool{a.Hedge(), b.Hedge()})
	_, err := b.Do(req, fail(errLost)) //nolint:bodyclose // there is none, or it is closed elsewhere
	require.Error(t, err)
	d, _ := exchange.Start(req)
	assert.True(t, d.Hedge())
	a.Finish(nil)
	d.Finish(nil)
	c.requireBalanced(t)
}

func TestExchangeKeepsItsState(t *testing.T) {
	t.Parallel()
	x := new(exchange.Exchange)
	a, _ := x.Begin(post(t.Context(), chat))
	for _, e := range []string{"a", "b", "a", "c"} {
		a.Use(e)
	}
	a.SetOthers(2)
	assert.Equal(t, "c", a.Endpoint())
	assert.Equal(t, 2, a.Others())
	assert.Equal(t, []bool{true, true, true, false}, []bool{x.Used("a"), x.Used("b"), x.Used("c"), x.Used("d")})
	assert.False(t, x.Final())
	x.Finalize()
	assert.True(t, x.Final())
	_, ok := x.Served()
	assert.False(t, ok)
	x.Serve(exchange.Served{Finished: true})
	s, ok := x.Served()
	assert.True(t, ok && s.Finished)
	a.Finish(nil)
	assert.Nil(t, exchange.From(t.Context()))
	assert.Same(t, x, exchange.From(exchange.With(t.Context(), x)))
}
