package balance_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/require"
)

// with responds with a status and a body.
func with(code int, body io.ReadCloser) transport {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: code, Header: http.Header{}, Body: body, ContentLength: -1}, nil
	}
}

func failing(err error) transport {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

func breaking() io.ReadCloser {
	return io.NopCloser(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF)))
}

func TestInflightUntilTheBodyEnds(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		end  func(io.ReadCloser) error
		open int64
	}{
		"unread":    {func(io.ReadCloser) error { return nil }, 1},
		"part read": {func(b io.ReadCloser) error { _, err := b.Read(make([]byte, 1)); return err }, 1},
		"read":      {func(b io.ReadCloser) error { _, err := io.Copy(io.Discard, b); return err }, 0},
		"closed":    {func(b io.ReadCloser) error { return b.Close() }, 0},
		"both": {func(b io.ReadCloser) error {
			_, err := io.Copy(io.Discard, b)
			return errors.Join(err, b.Close(), b.Close())
		}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, balance.Config{Endpoints: endpoints(1)})
			res, err := p.RoundTrip(request(t, ""))
			require.NoError(t, err)
			require.EqualValues(t, 1, status(t, p, "e00").Inflight)
			require.NoError(t, tt.end(res.Body))
			require.Equal(t, tt.open, status(t, p, "e00").Inflight)
			require.NoError(t, res.Body.Close())
			require.Zero(t, status(t, p, "e00").Inflight)
			require.EqualValues(t, 1, status(t, p, "e00").Requests)
		})
	}
}

// judged is a case of TestOutcome: the end of the context, the verdict, and the use of the body.
type judged struct {
	response transport
	cancel   error // its cause; context.Canceled: the client left
	before   bool  // the request is sent after the cancellation
	amid     bool  // the response is read after it
	expired  bool
	verdict  error
	unread   bool
	want     string
}

func TestOutcome(t *testing.T) {
	t.Parallel()
	gone := context.Canceled
	ok := func() io.ReadCloser { return io.NopCloser(strings.NewReader("ok")) }
	tests := map[string]judged{
		"200":                               {response: with(200, ok()), want: "success"},
		"404":                               {response: with(404, ok()), want: "neither"},
		"429":                               {response: with(429, ok()), want: "neither"},
		"500":                               {response: with(500, ok()), want: "failure"},
		"503":                               {response: with(503, ok()), want: "failure"},
		"500, not read":                     {response: with(500, ok()), unread: true, want: "failure"},
		"200, not read":                     {response: with(200, ok()), unread: true, want: "neither"},
		"nil body":                          {response: with(200, nil), want: "success"},
		"no body, not read":                 {response: with(204, http.NoBody), unread: true, want: "success"},
		"101":                               {response: with(101, ok()), unread: true, want: "success"},
		"101, broken":                       {response: with(101, breaking()), want: "success"},
		"transport error":                   {response: failing(errRefused), want: "failure"},
		"body error":                        {response: with(200, breaking()), want: "failure"},
		"client left, transport error":      {response: failing(context.Canceled), cancel: gone, before: true, want: "neither"},
		"client left, body error":           {response: with(200, breaking()), cancel: gone, amid: true, want: "neither"},
		"client left with the response":     {response: with(200, ok()), cancel: gone, want: "success"},
		"client left, not read":             {response: with(200, ok()), cancel: gone, unread: true, want: "neither"},
		"client left after a 500":           {response: with(500, ok()), cancel: gone, want: "failure"},
		"upstream too slow":                 {response: failing(context.Canceled), cancel: exchange.ErrTimeout, before: true, want: "failure"},
		"upstream too slow in its body":     {response: with(200, breaking()), cancel: exchange.ErrTimeout, amid: true, want: "failure"},
		"deadline":                          {response: failing(context.DeadlineExceeded), expired: true, want: "failure"},
		"verdict on a whole body":           {response: with(200, ok()), verdict: errors.New("error event"), want: "failure"},
		"verdict, then the client left":     {response: with(200, breaking()), verdict: errors.New("stalled"), cancel: gone, want: "failure"},
		"verdict on a body that's not read": {response: with(200, ok()), verdict: errors.New("too long"), unread: true, want: "failure"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { require.Equal(t, tt.want, tt.outcome(t)) })
		})
	}
}

// outcome puts the exchange between two failures, where two in a row eject: the third counts as
// the second exactly if the exchange was no success.
func (j judged) outcome(t *testing.T) string {
	t.Helper()
	next := with(500, nil)
	p := newPool(t, balance.Config{
		Endpoints: endpoints(1), Outlier: balance.Outlier{Consecutive: 2},
		Transport: transport(func(req *http.Request) (*http.Response, error) { return next(req) }),
	})
	_, _ = send(t, p, request(t, ""))
	next = j.response
	j.exchange(t, p)
	require.Zero(t, status(t, p, "e00").Inflight)
	if s := status(t, p, "e00"); s.Failures == 2 {
		require.NotZero(t, s.EjectedUntil)
		return "failure"
	}
	next = with(500, nil)
	_, _ = send(t, p, request(t, ""))
	if status(t, p, "e00").EjectedUntil.IsZero() {
		return "success"
	}
	return "neither"
}

func (j judged) exchange(t *testing.T, p *balance.Pool) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	if j.expired {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, time.Now())
		defer stop()
	}
	if j.before {
		cancel(j.cancel)
	}
	a, req := new(exchange.Exchange).Begin(request(t, "").WithContext(ctx))
	res, err := p.RoundTrip(req)
	if err != nil {
		return
	}
	if j.verdict != nil {
		a.Note(exchange.Verdict{Outcome: exchange.Failure, Blame: exchange.Endpoint, Err: j.verdict})
	}
	if j.amid {
		cancel(j.cancel)
	}
	if !j.unread {
		_, _ = io.Copy(io.Discard, res.Body)
	}
	cancel(j.cancel)
	require.NoError(t, res.Body.Close())
	require.NoError(t, res.Body.Close(), "counted once")
}

func TestThePanicOfATransportFreesItsPlace(t *testing.T) {
	t.Parallel()
	p := newPool(t, balance.Config{Endpoints: endpoints(1), Transport: transport(func(*http.Request) (*http.Response, error) { panic("oops") })})
	require.PanicsWithValue(t, "oops", func() { _, _ = send(t, p, request(t, "")) })
	require.Zero(t, status(t, p, "e00").Inflight)
}

func TestTheTransportsErrorIsPassedOn(t *testing.T) {
	t.Parallel()
	p := newPool(t, balance.Config{Endpoints: endpoints(1), Transport: failing(errRefused)})
	_, err := send(t, p, request(t, ""))
	require.Equal(t, errRefused, err)
}

// conn is the body of a 101.
type conn struct {
	watched
	written strings.Builder
	ended   bool
}

func (c *conn) Write(p []byte) (int, error) { return c.written.Write(p) }

// halfCloser is a conn with directions that end separately, as in TCP.
type halfCloser struct{ *conn }

func (h halfCloser) CloseWrite() error {
	h.ended = true
	return nil
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	for _, half := range []bool{false, true} {
		t.Run(map[bool]string{false: "whole", true: "half"}[half], func(t *testing.T) {
			t.Parallel()
			c := &conn{watched: watched{Reader: strings.NewReader("hello")}}
			var body io.ReadCloser = c
			if half {
				body = halfCloser{c}
			}
			p := newPool(t, balance.Config{Endpoints: endpoints(1), Transport: with(101, body)})
			res, err := p.RoundTrip(request(t, ""))
			require.NoError(t, err)
			_, err = io.WriteString(res.Body.(io.Writer), "hi")
			require.NoError(t, err)
			require.Equal(t, "hi", c.written.String())
			require.EqualValues(t, 1, status(t, p, "e00").Inflight)
			got := make([]byte, 5)
			_, err = io.ReadFull(res.Body, got)
			require.NoError(t, err)
			require.Equal(t, "hello", string(got))
			err = res.Body.(interface{ CloseWrite() error }).CloseWrite()
			if half {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, errors.ErrUnsupported)
			}
			require.Equal(t, half, c.ended)
			require.NoError(t, res.Body.Close())
			require.EqualValues(t, 1, c.closed.Load())
			require.Zero(t, status(t, p, "e00").Inflight)
		})
	}
}

func TestAnOrdinaryBodyIsNoWriter(t *testing.T) {
	t.Parallel()
	p := newPool(t, balance.Config{Endpoints: endpoints(1)})
	res, err := p.RoundTrip(request(t, ""))
	require.NoError(t, err)
	_, ok := res.Body.(io.Writer)
	require.False(t, ok)
	require.NoError(t, res.Body.Close())
}

// A hijacked connection is closed by one goroutine while another reads.
func TestUpgradeIsClosedWhileItIsRead(t *testing.T) {
	t.Parallel()
	p := newPool(t, balance.Config{Endpoints: endpoints(1), Transport: transport(func(*http.Request) (*http.Response, error) {
		in, out := io.Pipe()
		return with(http.StatusSwitchingProtocols, struct {
			io.ReadCloser
			io.Writer
		}{in, out})(nil)
	})})
	for range 50 {
		res, err := p.RoundTrip(request(t, ""))
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(io.Discard, res.Body) })
		wg.Go(func() { _ = res.Body.Close() })
		wg.Wait()
	}
	require.Zero(t, status(t, p, "e00").Failures, "its own close is not the endpoint's failure")
}
