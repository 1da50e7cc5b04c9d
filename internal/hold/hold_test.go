package hold_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/attempt"
	"github.com/ginfer/ginfer/internal/hold"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// owner stands for who made a try.
type owner struct {
	alive  atomic.Int64
	cancel context.CancelCauseFunc
}

func (o *owner) Alive()             { o.alive.Add(1) }
func (o *owner) Cancel(cause error) { o.cancel(cause) }
func (o *owner) Anew(bool)          {}

// What is not held comes back as it is, unread.
func TestNotHeld(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*http.Request, *http.Response) *http.Request{
		"no try":  func(*http.Request, *http.Response) *http.Request { return httptestRequest(t) },
		"another": func(r *http.Request, res *http.Response) *http.Request { res.StatusCode = 201; return r },
		"HEAD":    func(r *http.Request, _ *http.Response) *http.Request { r.Method = http.MethodHead; return r },
		"empty":   func(r *http.Request, res *http.Response) *http.Request { res.ContentLength = 0; return r },
		"compressed": func(r *http.Request, res *http.Response) *http.Request {
			res.Header.Set("Content-Encoding", "br")
			return r
		},
		"text": func(r *http.Request, res *http.Response) *http.Request {
			res.Header.Set("Content-Type", "text/plain")
			return r
		},
		"JSON lines": func(r *http.Request, res *http.Response) *http.Request {
			res.Header.Set("Content-Type", "application/json-seq")
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req, _ := asking(t.Context(), new(attempt.Exchange))
			body := &source{pieces: []string{busy}, end: io.EOF}
			res := saying(events, body) //nolint:bodyclose // closed below
			req = change(req, res)
			got, err := hold.Answer(req, res)
			require.NoError(t, err)
			assert.Same(t, res, got)
			assert.Same(t, body, got.Body)
			assert.Len(t, body.pieces, 1)
			require.NoError(t, got.Body.Close())
		})
	}
}

func httptestRequest(t *testing.T) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://host/", http.NoBody)
	require.NoError(t, err)
	return req
}

// Who asks twice waits once.
func TestHeldBefore(t *testing.T) {
	t.Parallel()
	req, _ := asking(t.Context(), new(attempt.Exchange))
	body, err := held(req, events, &source{pieces: []string{hello}, end: io.EOF})
	require.NoError(t, err)
	again, err := held(req, events, body)
	require.NoError(t, err)
	assert.Same(t, body, again)
	require.NoError(t, again.Close())
}

// Every part of JSON shows that its server lives; of a stream only content does.
func TestAlive(t *testing.T) {
	t.Parallel()
	for contentType, want := range map[string]int64{jsonType + "; charset=utf-8": 3, events: 0} {
		o := new(owner)
		req, try := asking(t.Context(), new(attempt.Exchange))
		try.Own(o)
		if body, err := held(req, contentType, &source{pieces: []string{`{"a":`, `1`, "}\n"}, end: io.EOF}); err == nil {
			require.NoError(t, body.Close())
		}
		assert.Equal(t, want, o.alive.Load(), contentType)
	}
}

// silent is a body that says its text and then nothing until its context ends.
type silent struct {
	source

	ctx     context.Context //nolint:containedctx // a body has no other way to end with its request
	reading atomic.Bool
}

func (s *silent) Read(p []byte) (int, error) {
	s.reading.Store(true)
	defer s.reading.Store(false)
	if len(s.pieces) > 0 {
		return s.source.Read(p)
	}
	<-s.ctx.Done()
	return 0, context.Cause(s.ctx)
}

func (s *silent) Close() error {
	if s.reading.Load() {
		panic("closed while it is read")
	}
	return s.source.Close()
}

// A try that was given up says nothing of its server; one that took too long does.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	for cause, counts := range map[error]bool{errors.New("the client left"): false, attempt.ErrTimeout: true} {
		for _, contentType := range []string{events, jsonType} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				req, try := asking(ctx, new(attempt.Exchange))
				body := &silent{source: source{pieces: []string{`{"a":1`}}, ctx: ctx}
				time.AfterFunc(time.Second, func() { cancel(cause) })
				_, err := held(req, contentType, body)
				require.ErrorIs(t, err, cause)
				assert.Equal(t, counts, try.Err() != nil)
				assert.Equal(t, 1, body.closed)
			})
		}
	}
}

// With a limit a stream passes when it is over, and goes on as if nothing was.
func TestLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		req, try := asking(t.Context(), &attempt.Exchange{Hold: time.Second})
		go func() {
			for _, s := range []string{ping, role, busy} {
				<-time.After(700 * time.Millisecond)
				_, _ = io.WriteString(w, s)
			}
			_ = w.Close()
		}()
		begin := time.Now()
		body, err := held(req, events, r)
		require.NoError(t, err)
		assert.Equal(t, time.Second, time.Since(begin))
		got, err := io.ReadAll(body)
		require.NoError(t, err)
		assert.Equal(t, ping+role+busy, string(got))
		require.ErrorIs(t, try.Err(), hold.ErrNoContent, "although it is too late for another try")
		require.NoError(t, body.Close())
	})
}

// An answer that passed by the limit can be closed while it is still read.
func TestLimitAndClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		req, try := asking(ctx, &attempt.Exchange{Hold: time.Second})
		try.Own(&owner{cancel: cancel})
		body := &silent{source: source{pieces: []string{ping}}, ctx: ctx}
		answer, err := held(req, events, body)
		require.NoError(t, err)
		require.NoError(t, answer.Close())
		assert.Equal(t, 1, body.closed)
	})
}
