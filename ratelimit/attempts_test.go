package ratelimit_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// gives returns a transport that responds with a body.
func gives(status int, contentType, body string) transport {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {contentType}}
		return &http.Response{StatusCode: status, Header: h, ContentLength: -1, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

// attempting makes the attempts in order and relays the last response, up to the bytes that
// the client reads.
func attempting(takes int64, attempts ...transport) gin.HandlerFunc {
	return func(c *gin.Context) {
		x, req := exchange.Of(c.Request)
		for i, next := range attempts {
			a, out := x.Begin(req)
			res, err := a.Do(out, next)
			if err != nil {
				c.Status(http.StatusBadGateway)
				continue
			}
			if i < len(attempts)-1 {
				_, _ = io.Copy(io.Discard, res.Body)
			} else {
				c.Header("Content-Type", res.Header.Get("Content-Type"))
				c.Status(res.StatusCode)
				_, _ = io.Copy(c.Writer, io.LimitReader(res.Body, takes))
			}
			_ = res.Body.Close()
		}
	}
}

const all = 1 << 20

// postTo sends a body to a path as user "a".
func postTo(ctx context.Context, h http.Handler, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("X-User", "a")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// The cost of a request is the usage of its attempts, whatever the client receives.
func TestTokensOfAttempts(t *testing.T) {
	t.Parallel()
	const chat = "/v1/chat/completions"
	usage := `data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":2}}` + "\n\ndata: [DONE]\n\n"
	sse := func(s string) transport { return gives(200, "text/event-stream", s) }
	json := gives(200, "application/json", response)
	fails := transport(func(*http.Request) (*http.Response, error) { return nil, errors.New("broken") })
	refuses := transport(func(*http.Request) (*http.Response, error) { return nil, &exchange.NotSentError{} })
	for name, tt := range map[string]struct {
		path      string
		body      string
		handler   gin.HandlerFunc
		want      int64
		estimated bool
	}{
		"JSON":                   {handler: attempting(all, json), want: 30},
		"a stream":               {handler: attempting(all, sse(delta("a")+delta("b")+usage)), want: 12},
		"a stream without usage": {handler: attempting(all, sse(delta("a")+delta("b")+"data: [DONE]\n\n")), want: inputTokens + 2, estimated: true},
		"two with output":        {handler: attempting(all, sse(delta("a")+delta("b")), json), want: 30 + inputTokens + 2, estimated: true},
		"a failed one, and one":  {handler: attempting(all, fails, gives(503, "application/json", `{"error":{}}`), json), want: 30},
		"a refused one, and one": {handler: attempting(all, refuses, json), want: 30},
		"only refused":           {handler: attempting(all, refuses), want: 0},
		"an error event at once": {handler: attempting(all, sse(`data: {"error":{"message":"x"}}`+"\n\n")), want: 0},
		"an error after content": {handler: attempting(all, sse(delta("a")+`data: {"error":{"message":"x"}}`+"\n\n")), want: inputTokens + 1, estimated: true},
		"client disconnect":      {handler: attempting(int64(len(delta("a"))), sse(delta("a")+delta("b")+usage)), want: inputTokens + 1, estimated: true},
		"not text":               {handler: attempting(all, gives(200, "audio/mpeg", "xxx")), want: inputTokens + 100, estimated: true},
		"Ollama": {
			path: "/api/chat", want: 38,
			handler: attempting(all, gives(200, "application/x-ndjson", `{"message":{"content":"a"}}`+"\n"+`{"done":true,"done_reason":"stop","prompt_eval_count":26,"eval_count":12}`+"\n")),
		},
		"Gemini": {
			path: "/v1beta/models/g:generateContent", body: `{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"maxOutputTokens":9}}`, want: 31,
			handler: attempting(all, gives(200, "application/json", `{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":20,"thoughtsTokenCount":2}}`)),
		},
		"embeddings": {
			path: "/v1/embeddings", body: `{"model":"m","input":"a"}`, want: 4,
			handler: attempting(all, gives(200, "application/json", `{"data":[{"embedding":[1]}],"usage":{"prompt_tokens":4,"total_tokens":4}}`)),
		},
		"a layer in front changes the response": {want: 30, handler: func(c *gin.Context) {
			x, req := exchange.Of(c.Request)
			a, out := x.Begin(req)
			res, err := a.Do(out, json)
			if assert.NoError(t, err) {
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
			asJSON(200, strings.Replace(response, "20", "900", 1))(c)
		}},
		"a cache hit": {want: 7, handler: func(c *gin.Context) {
			exchange.From(c.Request.Context()).Serve(exchange.Served{Usage: llm.Usage{Input: 3, Output: 4}, Finished: true})
			asJSON(200, response)(c)
		}},
		"a report": {want: 2, handler: func(c *gin.Context) {
			ratelimit.Report(c.Request.Context(), 1, 1)
			attempting(all, json)(c)
		}},
		"a mirrored request": {want: 0, handler: func(c *gin.Context) {
			exchange.From(c.Request.Context()).Shadow = true
			attempting(all, json)(c)
		}},
		"another exchange": {want: 30, handler: func(c *gin.Context) {
			mirror := &exchange.Exchange{Shadow: true}
			a, out := mirror.Begin(httptest.NewRequest(http.MethodPost, chat, nil))
			res, err := a.Do(out, json)
			if assert.NoError(t, err) {
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
			attempting(all, json)(c)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, seen := newShared(t), new(events)
			limit := ratelimit.Limit{Name: "tpm", Key: byUser, Rate: 0.0001, Burst: 1000}
			h := serve2(tokens(t, ratelimit.TokensConfig{Limits: []ratelimit.Limit{limit}, Store: s.Memory, OnEvent: seen.On}).Middleware(), tt.handler)
			path, body := tt.path, tt.body
			if path == "" {
				path = chat
			}
			if body == "" {
				body = question
			}
			postTo(t.Context(), h, path, body)
			require.Len(t, seen.of(ratelimit.Settled), 1)
			assert.Equal(t, tt.want, seen.of(ratelimit.Settled)[0].Tokens)
			assert.Equal(t, tt.estimated, seen.of(ratelimit.Settled)[0].Estimated)
			assert.InDelta(t, float64(1000-tt.want), level(t, s, ratelimit.Bucket{Limit: "tpm", Key: "a", Rate: 0.0001, Burst: 1000}), 0.01)
		})
	}
}

// Calls that generate nothing are not limited by tokens.
func TestTokensOfFreeCalls(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/v1/messages/count_tokens", "/v1/moderations", "/tokenize", "/v1beta/models/g:countTokens"} {
		seen := new(events)
		h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1, OnEvent: seen.On}).Middleware(),
			attempting(all, gives(200, "application/json", `{"input_tokens":2095}`)))
		for range 3 {
			assert.Equal(t, http.StatusOK, postTo(t.Context(), h, path, question).Code, path)
		}
		assert.Empty(t, seen.of(ratelimit.Settled), path)
	}
}

// Mirrored requests are not charged.
func TestTokensOfAMirroredRequest(t *testing.T) {
	t.Parallel()
	seen := new(events)
	h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1, OnEvent: seen.On}).Middleware(), asJSON(200, response))
	ctx := exchange.With(t.Context(), &exchange.Exchange{Shadow: true})
	for range 3 {
		assert.Equal(t, http.StatusOK, post(ctx, h, question).Code)
	}
	assert.Empty(t, seen.of(ratelimit.Allowed))
}

// Attempts made before the middleware are not charged.
func TestTokensOfEarlierAttempts(t *testing.T) {
	t.Parallel()
	seen := new(events)
	limit := tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1000, OnEvent: seen.On}).Middleware()
	h := serve2(limit, asJSON(200, response))
	x := new(exchange.Exchange)
	x.Begin(httptest.NewRequest(http.MethodPost, "/", nil))
	post(exchange.With(t.Context(), x), h, question)
	require.Len(t, seen.of(ratelimit.Settled), 1)
	assert.EqualValues(t, 30, seen.of(ratelimit.Settled)[0].Tokens)
}

// Audio and images are not estimated as text.
func TestTokensOfMedia(t *testing.T) {
	t.Parallel()
	data := strings.Repeat("QUJD", 1<<18)
	form := "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n" + data + "\r\n--b--\r\n"
	for name, c := range map[string]struct{ path, kind, body string }{
		"audio in a form": {"/v1/audio/transcriptions", "multipart/form-data; boundary=b", form},
		"Ollama's images": {"/api/chat", "application/json", `{"model":"m","messages":[{"role":"user","content":"hi","images":["` + data + `"]}]}`},
		"Gemini's":        {"/v1beta/models/g:generateContent", "application/json", `{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"` + data + `"}}]}]}`},
		"an unknown form": {"/x", "application/octet-stream", data},
	} {
		seen := new(events)
		h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 1, Burst: 1e7, OnEvent: seen.On}).Middleware(), asJSON(200, response))
		r := httptest.NewRequest(http.MethodPost, c.path, strings.NewReader(c.body))
		r.Header.Set("X-User", "a")
		r.Header.Set("Content-Type", c.kind)
		h.ServeHTTP(httptest.NewRecorder(), r)
		require.Len(t, seen.of(ratelimit.Allowed), 1, name)
		assert.Less(t, seen.of(ratelimit.Allowed)[0].Tokens, int64(2000), name)
	}
}

// A stream is debited while it flows, also if the client has received nothing of it.
func TestTokensDebitOfAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		b := ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 0.0001, Burst: 1000}
		r, w := io.Pipe()
		go func() {
			for range 500 {
				<-time.After(time.Second)
				_, _ = io.WriteString(w, delta("a"))
			}
			_ = w.Close()
		}()
		stream := transport(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}}, ContentLength: -1, Body: r}, nil
		})
		h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: ratelimit.Rate(b.Rate), Burst: b.Burst, Store: s.Memory}).Middleware(), attempting(all, stream))
		done := make(chan struct{})
		go func() {
			defer close(done)
			postTo(t.Context(), h, "/v1/chat/completions", `{"model":"m","messages":[],"max_tokens":50}`)
		}()
		<-time.After(300*time.Second + time.Millisecond)
		assert.InDelta(t, 700, level(t, s, b), 64+1, "at most one step behind")
		<-done
		assert.InDelta(t, 500, level(t, s, b), 1)
	})
}

// An attempt that ends after the request, as the loser of a hedge does, is charged then, once.
func TestTokensOfALateAttempt(t *testing.T) {
	t.Parallel()
	for _, reports := range []bool{false, true} {
		s := newShared(t)
		var late *http.Response
		var ctx atomic.Value
		h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1000, Store: s.Memory}).Middleware(), func(c *gin.Context) {
			ctx.Store(c.Request.Context())
			x, req := exchange.Of(c.Request)
			x.Managed = true
			a, out := x.Begin(req)
			var err error
			late, err = a.Do(out, gives(200, "application/json", response)) //nolint:bodyclose // closed below
			require.NoError(t, err)
			attempting(all, gives(200, "application/json", response))(c)
		})
		postTo(t.Context(), h, "/v1/chat/completions", question)
		b := ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 0.0001, Burst: 1000}
		assert.InDelta(t, 970, level(t, s, b), 0.01)
		if reports { // as stream.Meter does
			ratelimit.Report(ctx.Load().(context.Context), 10, 20) //nolint:forcetypeassert // stored above
		}
		_, _ = io.Copy(io.Discard, late.Body)
		require.NoError(t, late.Body.Close())
		assert.InDelta(t, 940, level(t, s, b), 0.01)
	}
}
