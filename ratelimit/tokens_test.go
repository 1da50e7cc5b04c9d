package ratelimit_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func tokens(tb testing.TB, cfg ratelimit.TokensConfig) *ratelimit.Tokens {
	tb.Helper()
	t, err := ratelimit.NewTokens(cfg)
	require.NoError(tb, err)
	return t
}

// post sends a body as user "a".
func post(ctx context.Context, h http.Handler, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("X-User", "a")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// level returns the level of a bucket.
func level(tb testing.TB, s ratelimit.Store, b ratelimit.Bucket) float64 {
	tb.Helper()
	charges := []ratelimit.Charge{{Bucket: b, Cost: 1}}
	require.NoError(tb, s.Take(context.Background(), charges))
	if charges[0].Granted > 0 {
		require.NoError(tb, s.Settle(context.Background(), []ratelimit.Settlement{{Bucket: b, Reserved: 1}}))
		return charges[0].Left + 1
	}
	return charges[0].Left
}

const (
	question    = `{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":100}`
	inputTokens = 4 // the estimate for question
	response    = `{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30}}`
)

func delta(text string) string {
	return fmt.Sprintf("data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", text)
}

func asJSON(status int, body string) gin.HandlerFunc {
	return func(c *gin.Context) { c.Data(status, "application/json", []byte(body)) }
}

// asStream sends events at intervals of a second.
func asStream(events ...string) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Header("Content-Type", "text/event-stream")
		for i, e := range events {
			if i > 0 {
				time.Sleep(time.Second)
			}
			_, _ = c.Writer.WriteString(e)
			c.Writer.Flush()
		}
	}
}

// The settled cost is the usage in the response, or the delivered output. A failure costs
// nothing.
func TestTokensSettle(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		handler   gin.HandlerFunc
		cancel    time.Duration
		want      int64
		estimated bool
	}{
		"JSON with usage":         {asJSON(200, response), 0, 30, false},
		"stream with usage":       {asStream(delta("a"), delta("b"), `data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":2}}`+"\n\n", "data: [DONE]\n\n"), 0, 12, false},
		"stream without usage":    {asStream(delta("a"), delta("b"), delta("c"), "data: [DONE]\n\n"), 0, inputTokens + 3, true},
		"JSON without usage":      {asJSON(200, `{"choices":[{"message":{"content":"12345678"}}]}`), 0, inputTokens + 2, true},
		"client disconnect":       {asStream(delta("a"), delta("b"), delta("c"), delta("d")), 1500 * time.Millisecond, inputTokens + 4, true}, // the handler here does not stop
		"disconnect before it":    {func(c *gin.Context) { <-c.Request.Context().Done() }, time.Second, inputTokens, true},
		"refused by the upstream": {asJSON(429, `{"error":{}}`), 0, 0, false},
		"failed":                  {asJSON(502, `{"error":{}}`), 0, 0, false},
		"no content":              {func(c *gin.Context) { c.Status(204) }, 0, 0, false},
		"timed out":               {func(c *gin.Context) { time.Sleep(time.Second); c.Status(504) }, 0, 0, false},
		"another type":            {func(c *gin.Context) { c.Data(200, "audio/mpeg", []byte("xxx")) }, 0, inputTokens + 100, true},
		"reported": {func(c *gin.Context) {
			ratelimit.Report(c.Request.Context(), 5, 6)
			ratelimit.Report(c.Request.Context(), 1, 1)
			asJSON(200, response)(c)
		}, 0, 13, false},
		"reported as free": {func(c *gin.Context) { ratelimit.Report(c.Request.Context(), 0, 0); asJSON(200, response)(c) }, 0, 0, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, seen := newShared(t), new(events)
			limit := ratelimit.Limit{Name: "tpm", Key: byUser, Rate: 0.0001, Burst: 1000}
			h := serve2(tokens(t, ratelimit.TokensConfig{Limits: []ratelimit.Limit{limit}, Store: s.Memory, OnEvent: seen.On}).Middleware(), tt.handler)
			ctx := t.Context()
			if tt.cancel > 0 {
				leaving, cancel := context.WithCancel(ctx)
				time.AfterFunc(tt.cancel, cancel)
				ctx = leaving
			}
			post(ctx, h, question)
			require.Len(t, seen.of(ratelimit.Settled), 1, name)
			assert.Equal(t, tt.want, seen.of(ratelimit.Settled)[0].Tokens, name)
			assert.Equal(t, tt.estimated, seen.of(ratelimit.Settled)[0].Estimated, name)
			got := level(t, s, ratelimit.Bucket{Limit: "tpm", Key: "a", Rate: 0.0001, Burst: 1000})
			assert.InDelta(t, float64(1000-tt.want), got, 0.01, name)
		})
	}
}

func serve2(chain ...gin.HandlerFunc) *gin.Engine {
	r := gin.New()
	r.POST("/*path", chain...)
	r.GET("/*path", chain...)
	return r
}

// Reservations keep concurrent requests within the limit.
func TestTokensConcurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.001, Burst: 1000}).Middleware(),
			func(c *gin.Context) { time.Sleep(time.Minute); asJSON(200, response)(c) })
		codes := make(chan int, 50)
		for range 50 {
			go func() { codes <- post(t.Context(), h, question).Code }()
		}
		got := map[int]int{}
		for range 50 {
			got[<-codes]++
		}
		assert.Equal(t, map[int]int{200: 9, 429: 41}, got, "104 each are reserved")
		w := post(t.Context(), h, question)
		assert.Equal(t, 200, w.Code, "730 remain after settling at 30 each")
		assert.Equal(t, `"tokens";q=1000;w=1000000`, w.Header().Get("Ratelimit-Policy"))
		assert.Equal(t, "1000", w.Header().Get("X-Ratelimit-Limit-Tokens"))
	})
}

// A small limit does not refuse for ever; an excess is debt.
func TestTokensSmallLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 1, Burst: 10}).Middleware(), asJSON(200, response))
		assert.Equal(t, 200, post(t.Context(), h, question).Code, "it costs 104 of 10")
		w := post(t.Context(), h, question)
		assert.Equal(t, 429, w.Code)
		assert.Equal(t, "30", w.Header().Get("Retry-After"), "20 in debt, and a full bucket is needed")
		assert.Contains(t, w.Body.String(), `"type":"tokens"`)
		time.Sleep(29 * time.Second)
		assert.Equal(t, 429, post(t.Context(), h, question).Code)
		time.Sleep(time.Second)
		assert.Equal(t, 200, post(t.Context(), h, question).Code)
	})
}

// A stream beyond its reservation is debited while it flows.
func TestTokensDebitWhileStreaming(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		tok := tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1000, Store: s.Memory})
		var all []string
		for range 500 {
			all = append(all, delta("a"))
		}
		h := serve2(tok.Middleware(), asStream(all...))
		done := make(chan struct{})
		go func() { defer close(done); post(t.Context(), h, `{"model":"m","messages":[],"max_tokens":50}`) }()
		b := ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 0.0001, Burst: 1000}
		time.Sleep(49*time.Second + time.Millisecond)
		assert.InDelta(t, 950, level(t, s, b), 1)
		time.Sleep(250 * time.Second)
		assert.InDelta(t, 700, level(t, s, b), 64+1, "at most one step behind")
		<-done
		assert.InDelta(t, 500, level(t, s, b), 1)
	})
}

// Estimates follow the measured usage.
func TestTokensLearn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen := new(events)
		h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 1e9, Burst: 1e12, OnEvent: seen.On}).Middleware(), asJSON(200, response))
		body := `{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("x", 388) + `"}]}`
		for range 200 {
			post(t.Context(), h, body)
		}
		first, last := seen.of(ratelimit.Allowed)[0].Tokens, seen.of(ratelimit.Allowed)[199].Tokens
		assert.InDelta(t, 100+256, first, 2)
		assert.InDelta(t, 30, last, 2)
		post(t.Context(), h, strings.Replace(body, `"m"`, `"other"`, 1))
		assert.Equal(t, first, seen.of(ratelimit.Allowed)[200].Tokens, "each model has its own estimate")
		post(t.Context(), h, `{"model":"m","n":1000000000,"messages":[]}`)
		assert.Less(t, seen.of(ratelimit.Allowed)[201].Tokens, int64(128*25))
	})
}

func TestTokensWithoutBody(t *testing.T) {
	t.Parallel()
	h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.001, Burst: 1}).Middleware(), asJSON(200, `{}`))
	for range 3 {
		assert.Equal(t, 200, get(h, "").Code, "without a body not even the key is needed")
	}
	assert.Equal(t, 400, func() int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}")))
		return w.Code
	}(), "no key")
}

// A body beyond the bound is estimated as an unread one, whatever its Content-Length, and is
// passed on whole.
func TestTokensLongBody(t *testing.T) {
	t.Parallel()
	seen := new(events)
	bodies, err := proxy.NewBodies(proxy.BodiesConfig{Limit: 100})
	require.NoError(t, err)
	h := serve2(bodies.Middleware(), tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 1, Burst: 1e6, OnEvent: seen.On}).Middleware(), func(c *gin.Context) {
		b, _ := io.ReadAll(c.Request.Body)
		c.Data(200, "text/plain", []byte(strconv.Itoa(len(b))))
	})
	assert.Equal(t, "4000", post(t.Context(), h, strings.Repeat("x", 4000)).Body.String())
	assert.EqualValues(t, 25+256, seen.of(ratelimit.Allowed)[0].Tokens)
}

// A panic in a handler releases the reservation.
func TestTokensPanic(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1000, Store: s.Memory}).Middleware(), func(*gin.Context) { panic("x") })
	assert.Panics(t, func() { post(t.Context(), h, question) })
	assert.InDelta(t, 1000, level(t, s, ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 0.0001, Burst: 1000}), 0.01)
}

// A report after the end of the request counts too.
func TestTokensLateReport(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	var late context.Context
	h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1000, Store: s.Memory}).Middleware(), func(c *gin.Context) {
		late = c.Request.Context() //nolint:fatcontext // kept beyond the request on purpose
		asJSON(200, response)(c)
	})
	post(t.Context(), h, question)
	ratelimit.Report(late, 5, 5)
	assert.InDelta(t, 1000-30-10, level(t, s, ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 0.0001, Burst: 1000}), 0.01)
	ratelimit.Report(t.Context(), 5, 5) // without limits it has no effect
}

func TestTokensCost(t *testing.T) {
	t.Parallel()
	seen := new(events)
	h := serve2(tokens(t, ratelimit.TokensConfig{
		Limits: []ratelimit.Limit{
			{Name: "day", Key: byUser, Budget: 1000, Period: ratelimit.Day},
			{Name: "tpm", Key: byUser, Rate: 1, Burst: 1000},
		},
		Cost: func(in, out int64) int64 { return in + 3*out }, OnEvent: seen.On,
	}).Middleware(), asJSON(200, response))
	w := post(t.Context(), h, question)
	assert.EqualValues(t, inputTokens+300, seen.of(ratelimit.Allowed)[0].Tokens)
	assert.EqualValues(t, 70, seen.of(ratelimit.Settled)[0].Tokens)
	assert.Len(t, w.Header()["Ratelimit"], 2)
}

// A reservation at a store that then fails is settled when the store is up again.
func TestTokensStoreDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, seen := newShared(t), new(events)
		h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1000, Store: over(t, s, ratelimit.SharedConfig{Replicas: 2, OnEvent: seen.On}), OnEvent: seen.On}).Middleware(),
			func(c *gin.Context) { time.Sleep(time.Second); asJSON(200, response)(c) })
		done := make(chan struct{})
		go func() { defer close(done); assert.Equal(t, 200, post(t.Context(), h, question).Code) }()
		time.Sleep(time.Millisecond)
		s.set(errDown)
		<-done
		assert.Len(t, seen.of(ratelimit.StoreDown), 1)
		assert.Equal(t, 200, post(t.Context(), h, question).Code, "by the local share")
		s.set(nil)
		time.Sleep(2 * time.Second)
		assert.Equal(t, 200, post(t.Context(), h, question).Code)
		time.Sleep(time.Second)
		require.Len(t, seen.of(ratelimit.StoreUp), 1)
		got := level(t, s, ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 0.0001, Burst: 1000})
		assert.InDelta(t, 1000-3*30, got, 1, "the first was settled, the others were booked")
	})
}

func TestTokensConfig(t *testing.T) {
	t.Parallel()
	_, err := ratelimit.NewTokens(ratelimit.TokensConfig{Rate: -1})
	for _, want := range []string{"Key is required", "Rate: -1"} {
		require.ErrorContains(t, err, want)
	}
	_, err = ratelimit.NewTokens(ratelimit.TokensConfig{Rate: 1, Limits: []ratelimit.Limit{{}}})
	require.ErrorContains(t, err, "both Limits and")
}
