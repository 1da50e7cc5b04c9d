package flight_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/cache/internal/flight"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// connection is the writer of a client that records writes, flushes and deadlines.
type connection struct {
	*httptest.ResponseRecorder
	writes    []int
	flushes   int
	deadlines []time.Duration // from now; -1: none
	fail      error
	failFlush error
}

func connect() *connection { return &connection{ResponseRecorder: httptest.NewRecorder()} }

func (c *connection) Write(p []byte) (int, error) {
	if c.fail != nil {
		return 0, c.fail
	}
	c.writes = append(c.writes, len(p))
	return c.ResponseRecorder.Write(p)
}

func (c *connection) FlushError() error {
	c.flushes++
	return c.failFlush
}

func (c *connection) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		c.deadlines = append(c.deadlines, -1)
	} else {
		c.deadlines = append(c.deadlines, time.Until(t))
	}
	return nil
}

// upper is a filter with an end.
type upper struct{}

func (upper) Add(p []byte) []byte { return bytes.ToUpper(p) }

func (upper) End() []byte { return []byte("END") }

// playing begins a flight, and plays it to a connection.
func playing(c context.Context, t *testing.T, p *flight.Player) (rec *flight.Recorder, done chan error) {
	t.Helper()
	g := &flight.Group[string]{Lag: 1 << 20, Limit: 1 << 20}
	f, leading, _ := g.Join(c, "k", "")
	_, r, _ := g.Join(c, "k", "")
	leading.Leave()
	done = make(chan error, 1)
	go func() { done <- p.Play(c, f.Response, r) }()
	return record(f, live()), done
}

func TestPlay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := connect()
		rec, done := playing(t.Context(), t, &flight.Player{Writer: c, Timeout: time.Second})
		synctest.Wait()
		write(t, rec, "a")
		synctest.Wait()
		require.Equal(t, "a", c.Body.String(), "at once")
		require.Equal(t, 2, c.flushes, "before the first byte, and after it")
		write(t, rec, strings.Repeat("b", 100<<10))
		synctest.Wait()
		rec.Header().Set(http.TrailerPrefix+"X-T", "1")
		require.NoError(t, rec.Close(false))
		require.NoError(t, <-done)
		require.Equal(t, []int{1, 64 << 10, 36 << 10}, c.writes, "in steps, each with its deadline")
		require.Equal(t, "1", c.Header().Get(http.TrailerPrefix+"X-T"))
		for _, d := range c.deadlines {
			require.Equal(t, time.Second, d)
		}
	})
}

func TestPlayDeadlines(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		player flight.Player
		want   []time.Duration // of the first flush and write
	}{
		"HTTP/1": {flight.Player{Timeout: time.Second}, []time.Duration{time.Second}},
		"HTTP/2": {flight.Player{Timeout: time.Second, HTTP2: true}, []time.Duration{time.Second, -1}},
		"none":   {flight.Player{Timeout: -1, HTTP2: true}, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := connect()
			tt.player.Writer = c
			rec, done := playing(t.Context(), t, &tt.player)
			synctest.Wait()
			assert.Equal(t, tt.want, c.deadlines, name)
			require.NoError(t, rec.Close(false), name)
			require.NoError(t, <-done, name)
		})
	}
}

func TestPlayFilter(t *testing.T) {
	t.Parallel()
	c := connect()
	rec, done := playing(t.Context(), t, &flight.Player{Writer: c, Timeout: time.Second, Filter: upper{}})
	write(t, rec, "abc")
	require.NoError(t, rec.Close(false))
	require.NoError(t, <-done)
	require.Equal(t, "ABCEND", c.Body.String())
}

func TestPlayEnds(t *testing.T) {
	t.Parallel()
	errGone := errors.New("gone")
	for name, tt := range map[string]struct {
		connection *connection
		filter     flight.Filter
		cut        bool // the response
		cancel     bool // the client
		err        error
	}{
		"cut":                         {connection: connect(), cut: true, err: flight.ErrCut},
		"canceled":                    {connection: connect(), cancel: true, err: context.Canceled},
		"a write fails":               {connection: &connection{ResponseRecorder: httptest.NewRecorder(), fail: errGone}, err: errGone},
		"a flush fails":               {connection: &connection{ResponseRecorder: httptest.NewRecorder(), failFlush: errGone}, err: errGone},
		"a flush is not supported":    {connection: &connection{ResponseRecorder: httptest.NewRecorder(), failFlush: http.ErrNotSupported}},
		"the end of the filter fails": {connection: &connection{ResponseRecorder: httptest.NewRecorder(), fail: errGone}, filter: &lastOnly{}, err: errGone},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, cancel := context.WithCancel(t.Context())
			defer cancel()
			rec, done := playing(c, t, &flight.Player{Writer: tt.connection, Timeout: time.Second, Filter: tt.filter})
			_, _ = rec.WriteString("abc")
			synctest.Wait()
			if tt.cancel {
				cancel()
				synctest.Wait()
			}
			if tt.cut {
				require.NoError(t, rec.SetWriteDeadline(time.Unix(1, 0)))
			}
			_ = rec.Close(false)
			require.ErrorIs(t, <-done, tt.err, name)
		})
	}
}

// lastOnly is a filter that sends nothing before the end.
type lastOnly struct{}

func (*lastOnly) Add([]byte) []byte { return nil }

func (*lastOnly) End() []byte { return []byte("end") }

func TestPlayToASlowClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		f, leading, _ := g.Join(ctx(), "k", "")
		_, fast, _ := g.Join(ctx(), "k", "")
		_, r, _ := g.Join(ctx(), "k", "")
		leading.Leave()
		blocked := &blocking{connection: connect(), resume: make(chan struct{})}
		done := make(chan error, 1)
		p := &flight.Player{Writer: blocked, Timeout: -1}
		go func() { done <- p.Play(t.Context(), f.Response, r) }()
		rec := record(f, live())
		for range 5 {
			write(t, rec, strings.Repeat("x", 60))
			drain(fast)
			synctest.Wait()
		}
		close(blocked.resume)
		require.ErrorIs(t, <-done, flight.ErrSlow)
		require.NoError(t, rec.Close(false))
	})
}

// blocking is a client that does not read until resume is closed.
type blocking struct {
	*connection
	resume chan struct{}
}

func (b *blocking) Write(p []byte) (int, error) {
	<-b.resume
	return b.connection.Write(p)
}

func TestReadDeadlineOfTheClient(t *testing.T) {
	t.Parallel()
	client := newClient()
	f, r, _ := newGroup().Join(ctx(), "k", "")
	rec := flight.NewRecorder(flight.RecorderConfig{Response: f.Response, Reader: r, Client: client, Leader: live()})
	require.ErrorIs(t, rec.SetReadDeadline(time.Now()), http.ErrNotSupported, "a test recorder has none")
	require.NoError(t, rec.Close(false))
}

func TestHasBody(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{100: false, 199: false, 200: true, 204: false, 206: true, 304: false, 404: true, 500: true} {
		assert.Equal(t, want, flight.HasBody(status), status)
	}
}
