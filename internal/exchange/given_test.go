package exchange_test

import (
	"context"
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

// script is a transport that waits before its parts, until the request's context ends.
type script struct {
	head   time.Duration
	status int
	kind   string
	parts  []part
	hangs  bool // at the end
}

type part struct {
	after time.Duration
	text  string
}

func (s script) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := sleep(r.Context(), s.head); err != nil {
		return nil, err
	}
	return response(max(s.status, 200), s.kind, &scripted{ctx: r.Context(), parts: s.parts, hangs: s.hangs}), nil
}

type scripted struct {
	ctx   context.Context //nolint:containedctx // as in net/http
	parts []part
	hangs bool
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(s.parts) == 0 {
		if s.hangs {
			return 0, sleep(s.ctx, time.Hour)
		}
		return 0, io.EOF
	}
	if err := sleep(s.ctx, s.parts[0].after); err != nil {
		return 0, err
	}
	n := copy(p, s.parts[0].text)
	s.parts[0].after, s.parts[0].text = 0, s.parts[0].text[n:]
	if s.parts[0].text == "" {
		s.parts = s.parts[1:]
	}
	return n, nil
}

func (s *scripted) Close() error { return nil }

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// phases are the points at which an attempt hangs when something happens to it.
var phases = []struct {
	name   string
	script script
	begun  bool
}{
	{"before the head", script{head: time.Hour}, false},
	{"before the content", script{kind: sse, parts: []part{{0, ": ping\n\n"}}, hangs: true}, false},
	{"after content", script{kind: sse, parts: []part{{0, text}}, hangs: true}, true},
}

// interrupted runs an attempt and calls f after a second.
func interrupted(t *testing.T, x *exchange.Exchange, s script, f func(a *exchange.Attempt, leave context.CancelCauseFunc)) (*exchange.End, *counted) {
	t.Helper()
	ctx, leave := context.WithCancelCause(t.Context())
	defer leave(nil)
	c := count(x)
	a, req := x.Begin(post(ctx, chat))
	timer := time.AfterFunc(time.Second, func() { f(a, leave) })
	defer timer.Stop()
	res, err := a.Do(req, s)
	if err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		require.NoError(t, res.Body.Close())
	}
	e := endOf(a)
	require.NotNil(t, e)
	return e, c
}

func TestVerdictOfInterruption(t *testing.T) {
	t.Parallel()
	leaveWith := func(cause error) func(*exchange.Attempt, context.CancelCauseFunc) {
		return func(_ *exchange.Attempt, leave context.CancelCauseFunc) { leave(cause) }
	}
	cancelWith := func(cause error) func(*exchange.Attempt, context.CancelCauseFunc) {
		return func(a *exchange.Attempt, _ context.CancelCauseFunc) { a.Cancel(cause) }
	}
	nothing := func(*exchange.Attempt, context.CancelCauseFunc) {}
	limit := func(set func(l *exchange.Limits)) exchange.Limits {
		l := exchange.Limits{}
		set(&l)
		return l
	}
	for _, tt := range []struct {
		name    string
		limits  exchange.Limits
		hurried bool
		upload  func() error
		f       func(*exchange.Attempt, context.CancelCauseFunc)
		want    string // "?" is repeatable before content
	}{
		{"client gone", exchange.Limits{}, false, nil, leaveWith(nil), "canceled client"},
		{"client's cause", exchange.Limits{}, false, nil, leaveWith(io.ErrClosedPipe), "canceled client"},
		{"outer timeout", exchange.Limits{}, false, nil, leaveWith(exchange.ErrTimeout), "failure endpoint"},
		{"outer deadline", exchange.Limits{}, false, nil, leaveWith(context.DeadlineExceeded), "failure endpoint"},
		{"outer own deadline", exchange.Limits{}, false, nil, leaveWith(exchange.ErrDeadline), "canceled client"},
		{"beaten", exchange.Limits{}, false, nil, cancelWith(exchange.ErrBeaten), "canceled nobody"},
		{"called off", exchange.Limits{}, false, nil, cancelWith(nil), "canceled nobody"},
		{"called off with a cause", exchange.Limits{}, false, nil, cancelWith(io.ErrClosedPipe), "canceled nobody"},
		{"beaten, with a broken upload", exchange.Limits{}, false, func() error { return io.ErrUnexpectedEOF }, cancelWith(exchange.ErrBeaten), "canceled nobody"},
		{"limit", limit(func(l *exchange.Limits) { l.FirstByte, l.Idle = time.Second, time.Second }), false, nil, nothing, "failure endpoint?"},
		{"limit, with a broken upload", limit(func(l *exchange.Limits) { l.FirstByte, l.Idle = time.Second, time.Second }), false, func() error { return io.ErrUnexpectedEOF }, nothing, "canceled client"},
		{"total", exchange.Limits{Deadline: time.Unix(1, 0)}, false, nil, nothing, "failure endpoint?"},
		{"hurried", exchange.Limits{Deadline: time.Unix(1, 0)}, true, nil, nothing, "canceled client"},
	} {
		for _, phase := range phases {
			want := tt.want
			if phase.begun {
				want = strings.TrimSuffix(want, "?")
			}
			want = strings.Replace(want, "?", " repeatable", 1)
			t.Run(tt.name+" "+phase.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					limits := tt.limits
					if !limits.Deadline.IsZero() {
						limits.Deadline = time.Now().Add(time.Second)
					}
					limits.Hurried = tt.hurried
					s := phase.script
					s.parts = append([]part(nil), s.parts...)
					e, c := interrupted(t, &exchange.Exchange{Limits: limits, Upload: tt.upload}, s, tt.f)
					assert.Equal(t, want, show(e.Verdict))
					assert.Equal(t, phase.begun, !e.Content.IsZero())
					assert.Equal(t, e.Start.Add(time.Second), e.Over)
					c.requireBalanced(t)
				})
			})
		}
	}
}

func TestVerdictOfClose(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		read int
		want string
	}{
		"at once":       {0, "canceled nobody"},
		"after content": {len(text), "canceled nobody"},
		"finished":      {len(text + stop), "success nobody"},
		"error":         {len("data: " + `{"error":{"type":"server_error"}}` + "\n\n"), "failure endpoint repeatable"},
	} {
		all := whole
		if name == "error" {
			all = "data: " + `{"error":{"type":"server_error"}}` + "\n\n" + done
		}
		a, req, c := begin(t, new(exchange.Exchange), chat)
		res, err := a.Do(req, give(200, sse, all[:tt.read], all[tt.read:]))
		require.NoError(t, err)
		_, err = io.CopyN(io.Discard, res.Body, int64(tt.read))
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, tt.want, show(endOf(a).Verdict), name)
		c.requireBalanced(t)
	}
}

func TestFinishedStreamWithUnreadEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, c := interrupted(t, new(exchange.Exchange), script{kind: sse, parts: []part{{0, text + stop}}, hangs: true},
			func(_ *exchange.Attempt, leave context.CancelCauseFunc) { leave(nil) })
		assert.Equal(t, "success nobody", show(e.Verdict))
		c.requireBalanced(t)
	})
}

func TestKnownLengthThatWasRead(t *testing.T) {
	t.Parallel()
	a, req, c := begin(t, new(exchange.Exchange), "/other")
	res, err := a.Do(req, transport(func(*http.Request) (*http.Response, error) {
		res := response(200, "text/plain", body("hello"))
		res.ContentLength = 5
		return res, nil
	}))
	require.NoError(t, err)
	_, err = io.ReadFull(res.Body, make([]byte, 5))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, "success nobody", show(endOf(a).Verdict))
	assert.True(t, endOf(a).Whole)
	c.requireBalanced(t)
}

func TestResponseToABrokenUpload(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 408, 500, 502, 504} {
		a, req, c := begin(t, &exchange.Exchange{Upload: func() error { return io.ErrUnexpectedEOF }}, chat)
		assert.Equal(t, "canceled client", show(judged(t, a, req, give(status, "", "no")).Verdict), status)
		c.requireBalanced(t)
	}
	a, req, _ := begin(t, &exchange.Exchange{Upload: func() error { return io.ErrUnexpectedEOF }}, chat)
	assert.Equal(t, "canceled client", show(judged(t, a, req, give(200, sse, `data: {"error":{"type":"server_error"}}`+"\n\n")).Verdict))
	a, req, _ = begin(t, &exchange.Exchange{Upload: func() error { return io.ErrUnexpectedEOF }}, chat)
	assert.Equal(t, "success nobody", show(judged(t, a, req, give(200, sse, whole)).Verdict))
}

func TestUpstreamThatIsLateForAHurriedClient(t *testing.T) {
	t.Parallel()
	a, req, _ := begin(t, &exchange.Exchange{Limits: exchange.Limits{Hurried: true}}, chat)
	assert.Equal(t, "canceled client", show(judged(t, a, req, give(504, "", "late")).Verdict))
	a, req, _ = begin(t, new(exchange.Exchange), "/pkg.Service/Method")
	req.Header.Set("Grpc-Timeout", "1n")
	assert.Equal(t, "canceled client", show(judged(t, a, req, grpc(4, "header")).Verdict))
}
