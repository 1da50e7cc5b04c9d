package exchange_test

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// noting is a layer that records the arguments of its hooks.
func noting(name string, log *[]string, next transport) layer {
	return layer{next: next, seen: func(a *exchange.Attempt, _ *http.Request, _ *http.Response) {
		a.OnContent(func(time.Time) { *log = append(*log, name+" content") })
		a.OnEvent(func(int64, time.Time) { *log = append(*log, name+" event") })
		a.OnEnd(func(*exchange.End) { *log = append(*log, name+" end") })
	}}
}

func TestHooksRunOnceInnerFirst(t *testing.T) {
	t.Parallel()
	var log []string
	inner := noting("inner", &log, give(200, sse, text, stop, done))
	middle := noting("middle", &log, inner.RoundTrip)
	outer := noting("outer", &log, middle.RoundTrip)
	x := new(exchange.Exchange)
	x.OnEvent(func(*exchange.Attempt, int64) { log = append(log, "exchange event") })
	x.OnEnd(func(*exchange.Attempt, *exchange.End) { log = append(log, "exchange end") })
	_, req := x.Begin(post(t.Context(), chat))
	res, err := outer.RoundTrip(req)
	require.NoError(t, err)
	require.Equal(t, text+stop+done, readAll(t, res))
	require.NoError(t, res.Body.Close())
	require.NoError(t, res.Body.Close())
	assert.Equal(t, []string{
		"inner content", "middle content", "outer content",
		"inner event", "middle event", "outer event", "exchange event",
		"inner end", "middle end", "outer end", "exchange end",
	}, log)
}

func TestLateHooksGetTheRecordedTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, req, _ := begin(t, new(exchange.Exchange), chat)
		start := time.Now()
		res, err := a.Do(req, script{head: time.Second, kind: sse, parts: []part{{time.Second, text}, {time.Second, stop}}})
		require.NoError(t, err)
		readAll(t, res)
		time.AfterFunc(time.Minute, func() { _ = res.Body.Close() })
		synctest.Wait()
		<-time.After(2 * time.Minute)
		var content, event time.Time
		a.OnContent(func(at time.Time) { content = at })
		a.OnEvent(func(n int64, at time.Time) { assert.EqualValues(t, 1, n); event = at })
		e := endOf(a)
		assert.Equal(t, start.Add(2*time.Second), content)
		assert.Equal(t, content, event)
		assert.Equal(t, []time.Time{start, start.Add(time.Second), content, start.Add(3 * time.Second)}, []time.Time{e.Start, e.Head, e.Content, e.Over})
		assert.Equal(t, start, a.Began())
	})
}

func TestHookThatPanicsStopsNoOther(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"content", "event", "end"} {
		src := body(whole)
		a, req, c := begin(t, new(exchange.Exchange), chat)
		var exchanges int
		c.OnEvent(func(*exchange.Attempt, int64) { exchanges++ })
		res, err := a.Do(req, transport(func(*http.Request) (*http.Response, error) { return response(200, sse, src), nil })) //nolint:bodyclose // it is, after the panic
		require.NoError(t, err)
		var log []string
		for _, name := range []string{"first", "second"} {
			hook := func(kind string) {
				log = append(log, name+" "+kind)
				if kind == at && name == "first" {
					panic("hook")
				}
			}
			a.OnContent(func(time.Time) { hook("content") })
			a.OnEvent(func(int64, time.Time) { hook("event") })
			a.OnEnd(func(*exchange.End) { hook("end") })
		}
		require.PanicsWithValue(t, "hook", func() { _, _ = io.ReadAll(res.Body) })
		assert.Contains(t, log, "second "+at)
		require.NoError(t, res.Body.Close())
		assert.Contains(t, log, "second end")
		assert.Equal(t, 1, src.closed)
		if at != "content" {
			assert.Equal(t, 1, exchanges)
		}
		c.requireBalanced(t)
	}
}

func TestHookThatPanicsInClose(t *testing.T) {
	t.Parallel()
	src := body(whole)
	a, req, c := begin(t, new(exchange.Exchange), chat)
	res, err := a.Do(req, transport(func(*http.Request) (*http.Response, error) { return response(200, sse, src), nil })) //nolint:bodyclose // it is, with a panic
	require.NoError(t, err)
	a.OnEnd(func(*exchange.End) { panic("hook") })
	require.PanicsWithValue(t, "hook", func() { _ = res.Body.Close() })
	assert.Equal(t, 1, src.closed)
	require.Error(t, req.Context().Err())
	c.requireBalanced(t)
}

func TestHooksMayCallEveryMethod(t *testing.T) {
	t.Parallel()
	a, req, c := begin(t, new(exchange.Exchange), chat)
	calls := 0
	everything := func() {
		calls++
		a.Note(exchange.Verdict{Outcome: exchange.Failure})
		a.Use("a")
		a.SetOthers(1)
		a.SetPatience(time.Second)
		a.SetFilter(nil)
		a.Prefetch()
		_, _, _, _, _ = a.Endpoint(), a.Others(), a.Verdict(), a.Latest(), a.Exchange().Attempts()
		a.OnContent(func(time.Time) {})
		a.OnEvent(func(int64, time.Time) {})
		a.OnEnd(func(*exchange.End) {})
		c.Observe("key", true)
		c.Finalize()
		c.OnEnd(func(*exchange.Attempt, *exchange.End) {})
		c.OnEvent(func(*exchange.Attempt, int64) {})
		exchange.Start(req)
	}
	c.OnEvent(func(*exchange.Attempt, int64) { everything() })
	res, err := a.Do(req, give(200, sse, text, stop, done))
	require.NoError(t, err)
	a.OnContent(func(time.Time) { everything() })
	a.OnEvent(func(int64, time.Time) { everything() })
	a.OnEnd(func(*exchange.End) { calls++; a.Finish(io.EOF); a.Cancel(nil) })
	require.Equal(t, text+stop+done, readAll(t, res))
	require.NoError(t, res.Body.Close())
	assert.Equal(t, 4, calls)
	assert.Equal(t, exchange.Failure, endOf(a).Outcome, "it was noted")
}

func TestContentOfWhatIsNoStream(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, contentType string
		status            int
		pieces            []string
		at                int // of the piece
	}{
		{"JSON", "application/json", 200, []string{" ", `{"choices":[{"message":{"content":`, `"Hi"}}]}`}, 3},
		{"anything", "audio/mpeg", 200, []string{"\xff", "x"}, 1},
		{"an error", sse, 500, []string{text}, 0},
		{"an error of no type", "", 404, []string{"no"}, 0},
	} {
		a, req, _ := begin(t, new(exchange.Exchange), chat)
		pieces := append([]string(nil), tt.pieces...)
		res, err := a.Do(req, give(tt.status, tt.contentType, pieces...))
		require.NoError(t, err)
		read, at := 0, 0
		a.OnContent(func(time.Time) { at = read })
		p := make([]byte, 1000)
		for read = 1; ; read++ {
			if _, err = res.Body.Read(p); err != nil {
				break
			}
		}
		assert.Equal(t, tt.at, at, tt.name)
		require.NoError(t, res.Body.Close())
	}
}
