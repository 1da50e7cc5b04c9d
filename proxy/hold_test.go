package proxy_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Events of a model.
const (
	role   = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
	hello  = "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n"
	done   = "data: [DONE]\n\n"
	whole  = role + hello + done
	ping   = ": ping\n\n"
	failed = "data: {\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"code\":500}}\n\n"
	unfit  = "data: {\"error\":{\"message\":\"context too long\",\"type\":\"invalid_request_error\",\"code\":400}}\n\n"
)

// piece is a part of a body: text, after a pause.
type piece struct {
	pause time.Duration
	text  string
}

// playing is a body of pieces, which ends with err. If that is nil, it does not end.
type playing struct {
	ctx    context.Context //nolint:containedctx // a body has no other way to end with its request
	pieces []piece
	err    error
}

func (b *playing) Read(p []byte) (int, error) {
	if len(b.pieces) == 0 {
		if b.err == nil {
			<-b.ctx.Done()
			return 0, b.ctx.Err()
		}
		return 0, b.err
	}
	next := &b.pieces[0]
	timer := time.NewTimer(next.pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
	next.pause = 0
	n := copy(p, next.text)
	if next.text = next.text[n:]; next.text == "" {
		b.pieces = b.pieces[1:]
	}
	return n, nil
}

func (*playing) Close() error { return nil }

// respond returns a transport that responds with a 200 of the type, after a pause.
func respond(pause time.Duration, contentType string, err error, pieces ...piece) transport {
	return func(req *http.Request) (*http.Response, error) {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
		h := http.Header{"Content-Type": {contentType}}
		return &http.Response{StatusCode: http.StatusOK, Header: h, ContentLength: -1, Body: &playing{req.Context(), append([]piece(nil), pieces...), err}}, nil
	}
}

func streams(err error, pieces ...piece) transport {
	return respond(0, "text/event-stream", err, pieces...)
}

func text(s string) piece { return piece{0, s} }

// inTurn passes attempts to the transports in turn. The last one gets the rest.
func inTurn(others int, list ...transport) transport {
	return func(req *http.Request) (*http.Response, error) {
		t := exchange.Current(req.Context())
		t.SetOthers(others)
		t.Use(string(rune('a' + t.Number())))
		return list[min(t.Number(), len(list))-1](req)
	}
}

func chatRequest(tb testing.TB, stream bool) *http.Request {
	tb.Helper()
	body := `{"model":"m","stream":false}`
	if stream {
		body = `{"model":"m","stream":true}`
	}
	return request(tb, http.MethodPost, strings.NewReader(body))
}

// The client's response when the first attempt, or each of them, fails after a good status.
func TestHeldBack(t *testing.T) {
	t.Parallel()
	const jsonType, full = "application/json", `{"choices":[{"message":{"content":"hello"}}]}`
	cut := io.ErrUnexpectedEOF
	for name, c := range map[string]struct {
		first  transport
		json   bool
		status int    // when every attempt ends this way
		body   string // and then; "" is an error's
		passes bool   // not a failure
	}{
		"an error event":               {first: streams(io.EOF, text(role+failed)), status: 200, body: role + failed},
		"an error event, cut anywhere": {first: streams(io.EOF, text(role+failed[:20]), text(failed[20:])), status: 200, body: role + failed},
		"an empty stream":              {first: streams(io.EOF), status: 502},
		"an end before content":        {first: streams(io.EOF, text(role)), status: 502},
		"only the last event":          {first: streams(io.EOF, text(done)), status: 502},
		"a cut before content":         {first: streams(cut, text(ping+role)), status: 502},
		"a stall":                      {first: streams(nil, text(role)), status: 504},
		"pings for ever":               {first: streams(nil, piece{4 * time.Second, ping}, piece{4 * time.Second, ping}, piece{4 * time.Second, ping}), status: 504},
		"JSON that is cut":             {first: respond(0, jsonType, cut, text(full[:20])), json: true, status: 502},
		"JSON that stalls":             {first: respond(0, jsonType, nil, text(full[:20])), json: true, status: 504},

		"the request's own fault":  {first: streams(io.EOF, text(unfit)), passes: true, body: unfit},
		"nothing to say":           {first: streams(io.EOF, text(role), text(done)), passes: true, body: role + done},
		"a stream of another kind": {first: streams(nil, text("data: news\n\n")), passes: true, body: "data: news\n\n"},
		"slow JSON": {
			first: respond(0, jsonType, io.EOF, piece{6 * time.Second, full[:9]}, piece{6 * time.Second, full[9:20]}, piece{6 * time.Second, full[20:]}),
			json:  true, passes: true, body: full,
		},
	} {
		good := streams(io.EOF, text(whole))
		want := whole
		if c.json {
			good, want = respond(0, jsonType, io.EOF, text(full)), full
		}
		play := func(t *testing.T, list ...transport) *httptest.ResponseRecorder {
			t.Helper()
			p := newProxy(t, proxy.Config{
				Transport: inTurn(1, list...), Retry: proxy.Retry{Repeat: proxy.Always},
				Timeouts: proxy.Timeouts{FirstByte: 10 * time.Second, Idle: 10 * time.Second},
			})
			return serve(p, chatRequest(t, !c.json))
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := play(t, c.first, good)
				if c.passes {
					assert.Equal(t, 200, w.Code)
					assert.True(t, strings.HasPrefix(w.Body.String(), c.body), w.Body)
					return
				}
				assert.Equal(t, 200, w.Code)
				assert.Equal(t, want, w.Body.String(), "nothing of the first attempt is sent")
				w = play(t, c.first)
				assert.Equal(t, c.status, w.Code, w.Body)
				if c.body != "" {
					assert.Equal(t, c.body, w.Body.String(), "the upstream's response says more")
					return
				}
				assert.Contains(t, w.Header().Get("Content-Type"), "json")
			})
		})
	}
}

// After the first content nothing is retried.
func TestCommitted(t *testing.T) {
	t.Parallel()
	tr := &calls{next: streams(io.ErrUnexpectedEOF, text(role+hello))}
	w := serve(newProxy(t, proxy.Config{Transport: tr, Retry: proxy.Retry{Repeat: proxy.Always}}), chatRequest(t, true))
	assert.Len(t, tr.at, 1)
	assert.Equal(t, 200, w.Code)
	assert.True(t, strings.HasPrefix(w.Body.String(), role+hello))
	assert.NotContains(t, w.Body.String(), "[DONE]")
}

// A stream that is buffered for too long is sent as it is, with what follows.
func TestHoldEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hold  time.Duration
		after time.Duration // when the head is sent
	}{
		"for a time": {3 * time.Second, 3 * time.Second},
		"not at all": {-1, 0},
		"no limit":   {0, 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var head time.Duration
				start := time.Now()
				tr := streams(io.EOF, text(role), piece{8 * time.Second, hello}, piece{time.Second, done})
				w := &headTimer{ResponseRecorder: httptest.NewRecorder(), seen: func() { head = time.Since(start) }}
				p := newProxy(t, proxy.Config{Transport: tr, Timeouts: proxy.Timeouts{Hold: c.hold}})
				engine(p).ServeHTTP(w, chatRequest(t, true))
				assert.Equal(t, whole, w.Body.String())
				assert.InDelta(t, c.after, head, float64(10*time.Millisecond))
			})
		})
	}
}

type headTimer struct {
	*httptest.ResponseRecorder
	seen func()
}

func (h *headTimer) WriteHeader(status int) {
	if h.seen != nil {
		h.seen()
		h.seen = nil
	}
	h.ResponseRecorder.WriteHeader(status)
}

// A client may leave while a response is buffered, with a limit or without.
func TestClientLeavesWhileHeld(t *testing.T) {
	t.Parallel()
	for _, hold := range []time.Duration{0, time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			ev := newEvents()
			p := newProxy(t, proxy.Config{Transport: streams(nil, text(role)), OnEvent: ev.on, Timeouts: proxy.Timeouts{Hold: hold, Idle: -1}})
			gone, leave := context.WithCancel(ctx)
			go func() { <-time.After(3 * time.Second); leave() }()
			serve(p, chatRequest(t, true).WithContext(gone))
			e := ev.next(t)
			require.Equal(t, proxy.Canceled, e.Outcome)
			require.Equal(t, 3*time.Second, e.Duration)
		})
	}
}

// A layer below may panic while its response is buffered, or later, without other damage.
func TestPanicWhileHeld(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]time.Duration{"held": 0, "no more": 2 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tr := transport(func(*http.Request) (*http.Response, error) {
					res := newResponse(200, "")
					res.Header.Set("Content-Type", "text/event-stream")
					res.Body = io.NopCloser(readerFunc(func([]byte) (int, error) {
						<-time.After(late)
						panic("oops")
					}))
					return res, nil
				})
				ev := newEvents()
				serve(newProxy(t, proxy.Config{Transport: tr, OnEvent: ev.on, Retry: proxy.Retry{Attempts: 1}, Timeouts: proxy.Timeouts{Hold: time.Second}}), chatRequest(t, true))
				assert.Equal(t, proxy.Failure, ev.next(t).Outcome)
			})
		})
	}
}
