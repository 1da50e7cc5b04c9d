package ratelimit_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// announce sends a Content-Length of n bytes and a prompt of 20,000 bytes.
func announce(ctx context.Context, h http.Handler, n int64) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", io.NopCloser(strings.NewReader(`{"prompt":"`+strings.Repeat("x", 20_000))))
	r.ContentLength = n
	r.Header.Set("X-User", "a")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// A header must not put a shared bucket into endless debt.
func TestAnnouncedLength(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	h := serve2(tokens(t, ratelimit.TokensConfig{Key: ratelimit.Global, Rate: 1000, Burst: 100_000, Store: s.Memory}).Middleware(), func(c *gin.Context) {
		if _, err := io.Copy(io.Discard, c.Request.Body); err != nil {
			c.AbortWithStatus(http.StatusBadRequest)
		}
	})
	server := httptest.NewServer(h)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	_, err = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{", int64(math.MaxInt64))
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	_, err = io.ReadAll(conn)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	got := level(t, s, ratelimit.Bucket{Limit: "tokens", Key: "*", Rate: 1000, Burst: 100_000})
	assert.Greater(t, got, -1e9, "no token is granted for the next %.0f years", -got/1000/86400/365)
}

// Nor may the length overflow, which would mint tokens.
func TestLengthOverflow(t *testing.T) {
	t.Parallel()
	s, seen := newShared(t), new(events)
	b := ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 0.0001, Burst: 1 << 30}
	bodies, err := proxy.NewBodies(proxy.BodiesConfig{Limit: 8000})
	require.NoError(t, err)
	h := serve2(bodies.Middleware(), tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: ratelimit.Rate(b.Rate), Burst: b.Burst, Store: s.Memory, OnEvent: seen.On}).Middleware(), func(c *gin.Context) {
		if c.Request.ContentLength < 1000 {
			asJSON(200, `{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":1000,"completion_tokens":20}}`)(c)
			return
		}
		c.String(200, "text")
	})
	for range 50 {
		post(t.Context(), h, `{"prompt":"x"}`) // without a model the estimate applies to all unread bodies
	}
	before := level(t, s, b)
	announce(t.Context(), h, math.MaxInt64)
	assert.Greater(t, seen.of(ratelimit.Allowed)[50].Tokens, int64(1000), "reserved")
	assert.LessOrEqual(t, level(t, s, b), before, "nothing is minted")
}

// Tiny prompts, of which the template is the larger part, do not spoil the estimate of long
// ones.
func TestTinyPrompts(t *testing.T) {
	t.Parallel()
	seen := new(events)
	h := serve2(tokens(t, ratelimit.TokensConfig{Key: ratelimit.Global, Rate: 1000, Burst: 1e6, OnEvent: seen.On}).Middleware(),
		asJSON(200, `{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":27,"completion_tokens":20}}`))
	const form = `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"%s"}]}`
	for range 100 {
		post(t.Context(), h, fmt.Sprintf(form, "x"))
	}
	post(t.Context(), h, fmt.Sprintf(form, strings.Repeat("word ", 8000))) // 40 000 bytes, about 10 000 tokens
	assert.Less(t, seen.of(ratelimit.Allowed)[100].Tokens, int64(20_000))
}

// An n above what servers support must not lower the estimate of a choice.
func TestManyChoices(t *testing.T) {
	t.Parallel()
	seen := new(events)
	h := serve2(tokens(t, ratelimit.TokensConfig{Key: ratelimit.Global, Rate: 1000, Burst: 1e9, OnEvent: seen.On}).Middleware(),
		asJSON(200, `{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":5,"completion_tokens":12800}}`))
	for range 100 {
		post(t.Context(), h, `{"model":"m","n":1000000000,"messages":[]}`)
	}
	post(t.Context(), h, `{"model":"m","n":128,"messages":[]}`)
	assert.Greater(t, seen.of(ratelimit.Allowed)[100].Tokens, int64(6400))
}

// The settlement of a request from before a reload does not restore the old size.
func TestReloadInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		old := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 1, Burst: 500, Store: s.Memory}).Middleware(),
			func(c *gin.Context) { time.Sleep(time.Hour); asJSON(200, response)(c) })
		done := make(chan struct{})
		go func() { defer close(done); post(t.Context(), old, question) }()
		synctest.Wait()
		b := ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 100, Burst: 100_000}
		level(t, s, b)
		time.Sleep(time.Hour + time.Second)
		<-done
		assert.Greater(t, level(t, s, b), 90_000.0)
	})
}

// A failure is refunded also if a handler canceled its own context.
func TestInnerContext(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1000, Store: s.Memory}).Middleware(),
		func(c *gin.Context) {
			ctx, cancel := context.WithTimeout(c.Request.Context(), time.Minute)
			defer cancel()
			c.Request = c.Request.WithContext(ctx)
			c.Next()
		}, asJSON(500, `{}`))
	post(t.Context(), h, question)
	assert.InDelta(t, 1000, level(t, s, ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 0.0001, Burst: 1000}), 0.01)
}

// The reservation of a slow response that is no stream is renewed too.
func TestReservationOfASlowResponse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &counting{Memory: newShared(t).Memory}
		during := int64(0)
		h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1000, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1})}).Middleware(),
			func(c *gin.Context) {
				time.Sleep(5 * time.Minute)
				during = s.settles.Load()
				asJSON(200, response)(c)
			})
		post(t.Context(), h, question)
		assert.GreaterOrEqual(t, during, int64(5), "a reservation expires in redisstore after a minute")
	})
}

type counting struct {
	*ratelimit.Memory
	settles atomic.Int64
}

func (c *counting) Settle(ctx context.Context, some []ratelimit.Settlement) error {
	c.settles.Add(1)
	return c.Memory.Settle(ctx, some)
}

// A stream that begins with an error event costs nothing.
func TestStreamWithErrorEvent(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1000, Store: s.Memory}).Middleware(),
		asStream("data: {\"error\":{\"message\":\"overloaded\"}}\n\n"))
	post(t.Context(), h, question)
	assert.InDelta(t, 1000, level(t, s, ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 0.0001, Burst: 1000}), 0.01)
}
