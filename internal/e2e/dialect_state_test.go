package e2e_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/breaker"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rateLimiting is an upstream that refuses some requests with 429 and Retry-After.
func rateLimiting(t *testing.T, refuses func(r *http.Request, body string) bool) *scripted {
	t.Helper()
	return startScripted(t, func(w http.ResponseWriter, r *http.Request, body string) {
		if refuses(r, body) {
			w.Header().Set("Retry-After", "30")
			writeResponse(w, http.StatusTooManyRequests, jsonMedia, `{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}`)
			return
		}
		writeResponse(w, 200, jsonMedia, openAIChatJSON().shapes[0].whole())
	})
}

// A 429 concerns a credential and a model at an endpoint: others are not affected, and with a
// sole endpoint not even the refused caller is kept from sending.
func TestDialectRateLimitIsPerCredentialAndModel(t *testing.T) {
	t.Parallel()
	with := func(key, model string) dialectRequest {
		q := chatOf(model, "")
		q.header = map[string]string{"Authorization": "Bearer " + key}
		return q
	}
	azure := chatOf("m", "")
	azure.header = map[string]string{"Authorization": "", "Api-Key": "sk-other"}
	byKey := func(r *http.Request, _ string) bool { return r.Header.Get("Authorization") == "Bearer sk-limited" }
	byModel := func(_ *http.Request, body string) bool { return strings.Contains(body, `"model":"busy"`) }
	tests := map[string]struct {
		refuses  func(*http.Request, string) bool
		first    dialectRequest
		then     dialectRequest
		status   int
		tenTimes bool
	}{
		"another key":                      {byKey, with("sk-limited", "m"), with("sk-other", "m"), 200, false},
		"another kind of key":              {byKey, with("sk-limited", "m"), azure, 200, false},
		"another key, after many":          {byKey, with("sk-limited", "m"), with("sk-other", "m"), 200, true},
		"another model":                    {byModel, with("sk-other", "busy"), with("sk-other", "m"), 200, false},
		"another model, after many":        {byModel, with("sk-other", "busy"), with("sk-other", "m"), 200, true},
		"the same key, nowhere else to go": {byKey, with("sk-limited", "m"), with("sk-limited", "m"), 429, false},
	}
	for name, tt := range tests {
		scenario(t, name, func(t *testing.T, v *findings) {
			t.Helper()
			up := rateLimiting(t, tt.refuses)
			g := up.gateway(t, dialectSetup{})
			n := 1
			if tt.tenTimes {
				n = dialectRepeats
			}
			for range n {
				got := g.send(t, tt.first)
				assert.Equal(v, http.StatusTooManyRequests, got.status)
				assert.Equal(v, "30", got.header.Get("Retry-After"))
			}
			before := len(up.requests())
			got := g.send(t, tt.then)
			assert.Equal(v, tt.status, got.status)
			assert.Len(v, up.requests(), before+1, "it is sent")
			assert.Equal(v, breaker.Closed, g.state("a"))
		})
	}
	scenario(t, "with another upstream the limited one receives no requests", func(t *testing.T, v *findings) {
		t.Helper()
		up, other := rateLimiting(t, byKey), chatUpstream(t, "b")
		g := up.gateway(t, dialectSetup{table: dialectFallback(), urls: []string{other.URL}})
		for range 3 {
			assert.Equal(v, 200, g.send(t, with("sk-limited", "m")).status)
		}
		assert.Len(v, up.requests(), 1)
		assert.Equal(v, 200, g.send(t, with("sk-other", "m")).status)
		assert.Len(v, up.requests(), 2, "others are still sent there")
	})
}

// Stored responses have the usage, whichever client came first; each client gets what it
// requested.
func TestDialectCachedUsage(t *testing.T) {
	t.Parallel()
	chat := openAIChat().shapes[0]
	without := strings.ReplaceAll(strings.Replace(chat.whole(), dataEvents(chatUsageChunk()), "", 1), `,"usage":null`, "")
	serve := func(w http.ResponseWriter, _ *http.Request, body string) {
		switch {
		case strings.Contains(body, `"include_usage":true`):
			writeResponse(w, 200, eventMedia, chat.whole())
		case strings.Contains(body, `"stream":true`):
			writeResponse(w, 200, eventMedia, without)
		default:
			writeResponse(w, 200, jsonMedia, openAIChatJSON().shapes[0].whole())
		}
	}
	plain := chatOf("m", `"stream":true,`)
	with := chatOf("m", `"stream":true,"stream_options":{"include_usage":true},`)
	no := chatOf("m", `"stream":true,"stream_options":{"include_usage":false},`)
	usageOf := func(got dialectResponse) bool { return strings.Contains(got.body, `"total_tokens":31`) }
	tests := map[string]struct {
		first, then dialectRequest
		usage       bool
		bare        bool // no meter
	}{
		"not requested, then requested": {plain, with, true, false},
		"requested, then not":           {with, plain, false, false},
		"requested, then declined":      {with, no, false, false},
		"declined, then requested":      {no, with, true, false},
		"requested, then not, no meter": {with, plain, false, true},
	}
	for name, tt := range tests {
		scenario(t, name, func(t *testing.T, v *findings) {
			t.Helper()
			up := startScripted(t, serve)
			g := up.gateway(t, dialectSetup{cache: true, limits: true, noMeter: tt.bare})
			first := g.send(t, tt.first)
			assert.Equal(v, !tt.usage, usageOf(first))
			got := g.send(t, tt.then)
			v.noError(got.err)
			assert.Len(v, up.requests(), 1, "it is served from the cache")
			assert.Equal(v, tt.usage, usageOf(got), "%s", got.body)
			assert.Equal(v, strings.Count(without, `"content":"`), strings.Count(got.body, `"content":"`))
			assert.True(v, strings.HasSuffix(got.body, doneEvent))
		})
	}
}

// Azure's api-key header is a credential.
func TestDialectAPIKeyOfAzure(t *testing.T) {
	t.Parallel()
	key, hash := auth.NewKey("sk-")
	lookup := func(_ context.Context, h string) (*auth.Identity, error) {
		if h != hash {
			return nil, auth.ErrInvalid
		}
		return &auth.Identity{Subject: "team"}, nil
	}
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{Lookup: lookup, Prefix: "sk-"})
	require.NoError(t, err)
	for name, header := range map[string]string{"Authorization": "Bearer " + key, "X-Api-Key": key, "Api-Key": key, "X-Goog-Api-Key": key} {
		scenario(t, name, func(t *testing.T, v *findings) {
			t.Helper()
			up := chatUpstream(t, "a")
			g := up.gateway(t, dialectSetup{authn: gin.HandlersChain{auth.Middleware(auth.Config{Verifiers: []auth.Verifier{keys}})}})
			q := chatOf("m", "")
			q.header = map[string]string{"Authorization": "", name: header}
			assert.Equal(v, 200, g.send(t, q).status)
			q.header[name] = header + "x"
			assert.Equal(v, http.StatusUnauthorized, g.send(t, q).status)
		})
	}
}

// The upstream's rate limit headers pass unless a limit of the gateway applies.
func TestDialectLimitHeadersOfTheUpstream(t *testing.T) {
	t.Parallel()
	headers := map[string]string{
		"X-Ratelimit-Limit-Requests": "10000", "X-Ratelimit-Remaining-Requests": "9999", "X-Ratelimit-Reset-Requests": "8.64s",
		"X-Ratelimit-Limit-Tokens": "200000", "X-Ratelimit-Remaining-Tokens": "199984", "X-Ratelimit-Reset-Tokens": "4ms",
		"Anthropic-Ratelimit-Requests-Remaining": "49", "Openai-Processing-Ms": "213",
	}
	for name, setup := range map[string]dialectSetup{"no stage": {}, "routed": {table: dialectFallback()}, "cached": {cache: true}, "our tokens alone": {limits: true}} {
		scenario(t, name, func(t *testing.T, v *findings) {
			t.Helper()
			up := startScripted(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
				for header, value := range headers {
					w.Header().Set(header, value)
				}
				writeResponse(w, 200, jsonMedia, openAIChatJSON().shapes[0].whole())
			})
			setup.urls = []string{up.URL}
			got := up.gateway(t, setup).send(t, chatOf("m", ""))
			for header, value := range headers {
				if setup.limits && strings.HasSuffix(header, "-Tokens") {
					assert.NotEqual(v, value, got.header.Get(header), "%s: our limit applies", header)
					continue
				}
				assert.Equal(v, value, got.header.Get(header), header)
			}
		})
	}
}

// A response that is compressed despite Accept-Encoding is metered all the same, and the
// client gets an encoding that it accepts.
func TestDialectUnrequestedCompression(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		media, body string
		accept      string
	}{
		"JSON":                           {jsonMedia, openAIChatJSON().shapes[0].whole(), ""},
		"JSON, the client takes gzip":    {jsonMedia, openAIChatJSON().shapes[0].whole(), "gzip"},
		"stream":                         {eventMedia, openAIChat().shapes[0].whole(), ""},
		"stream, the client takes gzip":  {eventMedia, openAIChat().shapes[0].whole(), "gzip"},
		"stream, the client takes no gz": {eventMedia, openAIChat().shapes[0].whole(), "identity"},
	} {
		scenario(t, name, func(t *testing.T, v *findings) {
			t.Helper()
			up := startScripted(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
				w.Header().Set("Content-Encoding", "gzip")
				writeResponse(w, 200, tt.media, gzipOf(t, tt.body))
			})
			g := up.gateway(t, dialectSetup{limits: true})
			q := openAIChat().shapes[0].dialectRequest
			q.header = map[string]string{"Accept-Encoding": tt.accept}
			got := g.send(t, q)
			v.noError(got.err)
			body := got.body
			if got.header.Get("Content-Encoding") == "gzip" {
				r, err := gzip.NewReader(bytes.NewReader([]byte(body)))
				require.NoError(t, err)
				all, err := io.ReadAll(r)
				require.NoError(t, err)
				body = string(all)
			}
			assert.Equal(v, tt.body, body)
			assert.EqualValues(v, 31, g.charged(), "tokens charged")
		})
	}
}
