package observe_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/events"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every field of a line, with the event that sets it.
func TestAccessLogFields(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		access, out := newAccessLog(t, observe.AccessLogConfig{Path: true, Attrs: func(c *gin.Context) []slog.Attr {
			return []slog.Attr{slog.String("mine", c.Request.Method)}
		}})
		var h events.Hooks
		w := ask(post("X-Request-Id", "id-1"), access.Middleware(), observe.Route("chat"), func(c *gin.Context) {
			ctx := c.Request.Context()
			h.Auth(ctx, auth.Event{Identity: &auth.Identity{Subject: "sub", Tenant: "acme", Method: "jwt", Issuer: "i"}})
			h.Routing(ctx, routing.Event{Kind: routing.Decided, Model: "m", Version: "v1"})
			h.Limit("requests")(ctx, ratelimit.Event{Kind: ratelimit.Allowed, Wait: 3 * time.Millisecond})
			time.Sleep(10 * time.Millisecond)
			h.Routing(ctx, routing.Event{Kind: routing.FellBack, Model: "m", From: "v1", Version: "v2"})
			h.Proxy(ctx, proxy.Event{Kind: proxy.AttemptEnded, Attempt: 1, Endpoint: "a:1", Outcome: proxy.Failure, Err: errors.New("refused")})
			h.Proxy(ctx, proxy.Event{Kind: proxy.AttemptEnded, Attempt: 2, Hedge: true, Endpoint: "b:1"})
			h.Usage(ctx, stream.Usage{
				Model: "m-8b", Outcome: stream.Complete, Status: 200, Input: 7, Output: 9, Cached: 2, Estimated: true,
				Stream: true, Events: 9, FirstToken: 2 * time.Millisecond, PerToken: time.Millisecond,
			})
			h.Usage(ctx, stream.Usage{Model: "loser", Outcome: stream.Canceled, Input: 1})
			time.Sleep(20 * time.Millisecond)
			c.Writer.Header().Set("X-Request-ID", "upstream-id")
			c.String(http.StatusOK, "hello")
			h.Proxy(ctx, proxy.Event{
				Kind: proxy.Finished, Attempt: 2, Hedge: true, Endpoint: "b:1", Status: 200, Outcome: proxy.Success,
				FirstByte: 5 * time.Millisecond, Duration: 20 * time.Millisecond, Bytes: 5,
			})
		})
		got := out.one(t)
		delete(got, "time")
		assert.Equal(t, map[string]any{
			"level": "INFO", "msg": "request", "request_id": "id-1", "mine": "POST",
			"http.request.method": "POST", "http.route": "chat", "url.path": "/v1/chat/completions", "network.protocol.version": "1.1",
			"http.response.status_code": 200.0, "outcome": "success",
			"enduser.id": "sub", "tenant": "acme", "gateway.auth.method": "jwt",
			"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.response.model": "m-8b",
			"gateway.route.version": "v2", "gateway.fallback.from": "v1", "gateway.endpoint": "b:1", "gateway.upstream.request.id": "upstream-id",
			"gateway.tries": 2.0, "gateway.hedge": true, "gateway.hedge.won": true,
			"gen_ai.usage.input_tokens": 7.0, "gen_ai.usage.output_tokens": 9.0, "gen_ai.usage.cache_read.input_tokens": 2.0,
			"gateway.tokens.estimated": true, "gateway.stream": true,
			"duration_ms": 30.0, "wait_ms": 3.0, "first_byte_ms": 15.0, "first_token_ms": 15.0, "per_token_ms": 1.0,
			"http.request.body.size": 37.0, "http.response.body.size": 5.0,
		}, got)
		assert.Equal(t, []string{"upstream-id"}, w.Header().Values("X-Request-ID"))
		assert.Equal(t, []string{"id-1"}, w.Header().Values("X-Gateway-Request-Id"))
	})
}

func TestAccessLogOutcomes(t *testing.T) {
	t.Parallel()
	finished := func(e proxy.Event) gin.HandlerFunc {
		return func(c *gin.Context) {
			e.Kind = proxy.Finished
			events.Hooks{}.Proxy(c.Request.Context(), e)
		}
	}
	abort := func(err error) gin.HandlerFunc { return func(c *gin.Context) { apierror.Abort(c, err) } }
	tests := map[string]struct {
		handler                     gin.HandlerFunc
		level, outcome, code, error string
		status                      int
	}{
		"success":              {func(c *gin.Context) { c.String(http.StatusOK, "") }, "INFO", "success", "", "", 200},
		"nothing is written":   {func(c *gin.Context) { c.Status(http.StatusNoContent) }, "INFO", "success", "", "", 204},
		"refused":              {abort(&apierror.Error{Status: 429, Code: "rate_limited", Message: "Slow down."}), "WARN", "refused", "rate_limited", "slow down", 429},
		"refused without code": {func(c *gin.Context) { c.Status(http.StatusNotFound) }, "WARN", "refused", "404", "", 404},
		"own failure":          {abort(errors.New("disk")), "ERROR", "failure", "internal_error", "disk", 500},
		"upstream's 404":       {func(c *gin.Context) { c.Status(404); finished(proxy.Event{Outcome: proxy.Success})(c) }, "INFO", "success", "404", "", 404},
		"broken stream": {func(c *gin.Context) {
			c.String(http.StatusOK, "data: 1\n\n")
			finished(proxy.Event{Outcome: proxy.Failure, Err: errors.New("cut")})(c)
		}, "ERROR", "failure", "", "cut", 200},
		"canceled": {finished(proxy.Event{Outcome: proxy.Canceled, Err: errors.New("gone")}), "INFO", "canceled", "", "gone", 200},
		"499":      {func(c *gin.Context) { c.Status(499) }, "INFO", "canceled", "499", "", 499},
		"a stream that its guard ended": {func(c *gin.Context) {
			events.Hooks{}.Stream(c.Request.Context(), stream.Event{Err: stream.ErrIdle})
			finished(proxy.Event{Outcome: proxy.Failure})(c)
		}, "ERROR", "failure", "", stream.ErrIdle.Error(), 200},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			access, out := newAccessLog(t, observe.AccessLogConfig{})
			ask(post(), access.Middleware(), tt.handler)
			got := out.one(t)
			text := func(key string) string { s, _ := got[key].(string); return s }
			assert.Equal(t, tt.level, got["level"])
			assert.Equal(t, tt.outcome, got["outcome"])
			assert.InDelta(t, tt.status, got["http.response.status_code"], 0)
			assert.Equal(t, tt.code, text("error.type"))
			assert.Equal(t, tt.error, text("error.message"))
		})
	}
}

// A client disconnect is not a panic, and one after the whole response is not an early one.
func TestAccessLogOutcomeAfterDisconnect(t *testing.T) {
	t.Parallel()
	finished := func(c *gin.Context, o proxy.Outcome) {
		events.Hooks{}.Proxy(c.Request.Context(), proxy.Event{Kind: proxy.Finished, Outcome: o})
	}
	for name, tt := range map[string]struct {
		handler gin.HandlerFunc
		leave   bool
		outcome string
		panic   bool
	}{
		"a stream, relayed to its end":    {func(c *gin.Context) { finished(c, proxy.Success) }, true, "success", false},
		"a stream, relayed in part":       {func(c *gin.Context) { finished(c, proxy.Canceled) }, true, "canceled", false},
		"in part, and ended by a panic":   {func(c *gin.Context) { finished(c, proxy.Canceled); panic(http.ErrAbortHandler) }, false, "canceled", false},
		"ended by a panic, no exchange":   {func(*gin.Context) { panic(http.ErrAbortHandler) }, true, "canceled", false},
		"a panic":                         {func(*gin.Context) { panic("oh") }, false, "failure", true},
		"a panic of the proxy's":          {func(c *gin.Context) { finished(c, proxy.Failure); panic("oh") }, false, "failure", true},
		"with a 400":                      {func(c *gin.Context) { c.String(http.StatusBadRequest, "no") }, true, "refused", false},
		"with a 400 of the proxy's":       {func(c *gin.Context) { c.Status(http.StatusBadRequest); finished(c, proxy.Refused) }, true, "refused", false},
		"with a 503":                      {func(c *gin.Context) { c.Status(http.StatusServiceUnavailable) }, true, "failure", false},
		"with a whole response":           {func(c *gin.Context) { c.Header("Content-Length", "2"); c.String(http.StatusOK, "ok") }, true, "success", false},
		"with a part":                     {func(c *gin.Context) { c.Header("Content-Length", "9"); c.String(http.StatusOK, "ok") }, true, "canceled", false},
		"with a stream that was cached":   {served(true), true, "success", false},
		"with a part that was cached":     {served(false), true, "canceled", false},
		"with a stream of unknown length": {func(c *gin.Context) { c.String(http.StatusOK, "ok") }, true, "canceled", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			access, out := newAccessLog(t, observe.AccessLogConfig{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			func() {
				defer func() { _ = recover() }()
				ask(post().WithContext(ctx), access.Middleware(), func(c *gin.Context) { //nolint:contextcheck // the request has it
					if tt.leave {
						defer cancel()
					}
					tt.handler(c)
				})
			}()
			got := out.one(t)
			assert.Equal(t, tt.outcome, got["outcome"])
			assert.Equal(t, tt.panic, got["panic"] == true)
		})
	}
}

// served is a response without an upstream.
func served(whole bool) gin.HandlerFunc {
	return func(c *gin.Context) {
		x, r := exchange.Of(c.Request)
		c.Request = r
		x.Serve(exchange.Served{Finished: whole})
		c.String(http.StatusOK, "data: 1\n\n")
	}
}

// A client disconnect before any attempt.
func TestAccessLogClientDisconnect(t *testing.T) {
	t.Parallel()
	access, out := newAccessLog(t, observe.AccessLogConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	ask(post().WithContext(ctx), access.Middleware(), func(*gin.Context) { cancel() })
	assert.Equal(t, "canceled", out.one(t)["outcome"])
}

func TestAccessLogPanics(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]func(access, recovery gin.HandlerFunc) gin.HandlersChain{
		"before the recovery": func(a, r gin.HandlerFunc) gin.HandlersChain { return gin.HandlersChain{a, r} },
		"after it":            func(a, r gin.HandlerFunc) gin.HandlersChain { return gin.HandlersChain{r, a} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			access, out := newAccessLog(t, observe.AccessLogConfig{Sample: -1})
			chain := order(access.Middleware(), apierror.Recovery(func(*gin.Context, any, []byte) {}))
			w := ask(post(), append(chain, func(*gin.Context) { panic("boom") })...)
			assert.Equal(t, http.StatusInternalServerError, w.Code)
			assert.NotEmpty(t, w.Header().Get("X-Request-ID"))
			got := out.one(t)
			assert.Equal(t, "failure", got["outcome"])
			assert.InDelta(t, 500, got["http.response.status_code"], 0)
		})
	}
}

func TestSampling(t *testing.T) {
	t.Parallel()
	ok := func(c *gin.Context) { c.Status(http.StatusOK) }
	bad := func(c *gin.Context) { c.Status(http.StatusBadGateway) }
	slow := func(c *gin.Context) { time.Sleep(11 * time.Second); c.Status(http.StatusOK) }
	tests := map[string]struct {
		sample  int
		handler gin.HandlerFunc
		want    int
	}{
		"all by default":     {0, ok, 20},
		"one in ten":         {10, ok, 2},
		"none":               {-1, ok, 0},
		"failures always":    {10, bad, 20},
		"slow ones always":   {-1, slow, 20},
		"failures with none": {-1, bad, 20},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				access, out := newAccessLog(t, observe.AccessLogConfig{Sample: tt.sample})
				for range 20 {
					ask(post(), access.Middleware(), tt.handler)
				}
				all := out.all(t)
				assert.Len(t, all, tt.want)
				if name == "one in ten" {
					assert.InDelta(t, 10, all[0]["gateway.sample"], 0)
				}
			})
		})
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	tests := map[string]struct {
		sent []string
		own  bool
		kept bool
	}{
		"none":         {nil, false, false},
		"valid":        {[]string{"aZ09-_.:+/="}, false, true},
		"longest":      {[]string{strings.Repeat("x", 128)}, false, true},
		"too long":     {[]string{strings.Repeat("x", 129)}, false, false},
		"empty":        {[]string{""}, false, false},
		"two":          {[]string{"a", "b"}, false, false},
		"space":        {[]string{"a b"}, false, false},
		"line":         {[]string{"a\nb"}, false, false},
		"quote":        {[]string{`a"b`}, false, false},
		"not ASCII":    {[]string{"ä"}, false, false},
		"own ids only": {[]string{"valid"}, true, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			access, out := newAccessLog(t, observe.AccessLogConfig{OwnIDs: tt.own})
			req := post()
			req.Header["X-Request-Id"] = tt.sent
			var seen string
			outbound := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
			w := ask(req, access.Middleware(), func(c *gin.Context) {
				seen = observe.RequestID(c.Request.Context())
				observe.ForwardRequestID(c, outbound)
			})
			if tt.kept {
				assert.Equal(t, tt.sent[0], seen)
			} else {
				assert.Regexp(t, uuid, seen)
			}
			assert.Equal(t, []string{seen}, w.Header().Values("X-Request-ID"))
			assert.Equal(t, seen, outbound.Header.Get("X-Request-ID"))
			assert.Equal(t, seen, out.one(t)["request_id"])
		})
	}
	assert.Empty(t, observe.RequestID(t.Context()))
}

// The upstream's ID stays, with the gateway's beside it, however the header is written.
func TestResponseHasBothRequestIDs(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(gin.ResponseWriter){
		"Write":          func(w gin.ResponseWriter) { _, _ = w.Write([]byte("x")) },
		"WriteString":    func(w gin.ResponseWriter) { _, _ = w.WriteString("x") },
		"WriteHeaderNow": func(w gin.ResponseWriter) { w.WriteHeaderNow() },
		"Flush":          func(w gin.ResponseWriter) { w.Flush() },
		"controller":     func(w gin.ResponseWriter) { _ = http.NewResponseController(w).Flush() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			access, out := newAccessLog(t, observe.AccessLogConfig{})
			req := httptest.NewRequest(http.MethodPost, "/v1/messages", http.NoBody)
			req.Header.Set("X-Request-ID", "ours")
			w := ask(req, access.Middleware(), func(c *gin.Context) {
				c.Writer.Header()["X-Request-Id"] = []string{"theirs"}
				c.Writer.Header()["Request-Id"] = []string{"theirs"}
				write(c.Writer)
			})
			assert.Equal(t, []string{"theirs"}, w.Result().Header.Values("X-Request-ID"))
			assert.Equal(t, []string{"theirs"}, w.Result().Header.Values("Request-Id"))
			assert.Equal(t, []string{"ours"}, w.Result().Header.Values("X-Gateway-Request-Id"))
			assert.Equal(t, "theirs", out.one(t)["gateway.upstream.request.id"])
			refused := ask(req.Clone(t.Context()), access.Middleware(), func(c *gin.Context) { write(c.Writer) }) // without an upstream
			for _, name := range []string{"X-Request-ID", "Request-ID", "X-Gateway-Request-Id"} {
				assert.Equal(t, []string{"ours"}, refused.Result().Header.Values(name))
			}
		})
	}
}

func TestSubject(t *testing.T) {
	t.Parallel()
	id := &auth.Identity{Subject: "alice@example.com", Issuer: "op", Tenant: "acme"}
	by := observe.Caller{Subject: "alice@example.com", Issuer: "op", Tenant: "acme"}
	pseudonyms, err := observe.Pseudonyms([]byte(strings.Repeat("k", 32)))
	require.NoError(t, err)
	_, err = observe.Pseudonyms([]byte("short"))
	require.Error(t, err)
	for name, tt := range map[string]struct {
		subject func(observe.Caller) string
		want    any
	}{
		"as it is":  {nil, "alice@example.com"},
		"hidden":    {func(observe.Caller) string { return "" }, nil},
		"pseudonym": {pseudonyms, pseudonyms(by)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			access, out := newAccessLog(t, observe.AccessLogConfig{Subject: tt.subject})
			ask(post(), access.Middleware(), func(c *gin.Context) { // as left by auth's middleware
				c.Request = c.Request.WithContext(auth.NewContext(c.Request.Context(), id))
			})
			assert.Equal(t, tt.want, out.one(t)["enduser.id"])
		})
	}
	assert.Len(t, pseudonyms(by), 32)
	assert.NotEqual(t, pseudonyms(by), pseudonyms(observe.Caller{Subject: "alice@example.com", Issuer: "another"}))
}

// A panic of telemetry fails no request.
func TestLoggerPanics(t *testing.T) {
	t.Parallel()
	access, err := observe.NewAccessLog(observe.AccessLogConfig{
		Logger: slog.New(slog.NewTextHandler(new(lines), nil)), Attrs: func(*gin.Context) []slog.Attr { panic("mine") },
	})
	require.NoError(t, err)
	w := ask(post(), access.Middleware(), func(c *gin.Context) { c.String(http.StatusOK, "fine") })
	assert.Equal(t, "fine", w.Body.String())
}

// Events of a hedge's losing attempt may arrive after the end of the request.
func TestLateEvents(t *testing.T) {
	t.Parallel()
	access, out := newAccessLog(t, observe.AccessLogConfig{})
	var ctx context.Context
	ask(post(), access.Middleware(), func(c *gin.Context) { ctx = c.Request.Context() }) //nolint:fatcontext // it outlives the request
	events.Hooks{}.Usage(ctx, stream.Usage{Model: "late"})
	assert.NotContains(t, out.one(t), "gen_ai.response.model")
}
