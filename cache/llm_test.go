package cache_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSecondRequestIsAHit(t *testing.T) {
	t.Parallel()
	u, l := responds(200, chatJSON, "Content-Type", jsonType, "X-Request-Id", "leader", "Set-Cookie", "a=b"), &log{}
	r := app(newCache(t, cache.Config{OnEvent: l.On}), u.serve)
	first := post(r, chatPlain)
	require.Equal(t, 200, first.Code)
	require.Equal(t, "ginfer; fwd=miss; ttl=59; stored", status(first))
	require.Equal(t, "leader", first.Header().Get("X-Request-ID"))
	second := post(r, chatPlain)
	require.Equal(t, first.Body.String(), second.Body.String())
	require.Contains(t, status(second), "ginfer; hit; ttl=")
	require.Equal(t, first.Header().Get("Content-Type"), second.Header().Get("Content-Type"))
	require.Equal(t, "0", second.Header().Get("Age"))
	require.Empty(t, second.Header().Get("X-Request-ID"), "it is another request's")
	require.Empty(t, second.Header().Get("Set-Cookie"))
	require.EqualValues(t, 1, u.calls.Load())
	require.Len(t, l.of(cache.Missed), 1)
	require.Len(t, l.of(cache.Stored), 1)
	require.Len(t, l.of(cache.Hit), 1)
	hit := l.of(cache.Hit)[0]
	require.Equal(t, "llm", hit.Policy)
	require.Equal(t, "m", hit.Model)
}

// Each case is a second request, and whether it is a hit.
func TestKeyOfRequests(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		path, body string
		header     []string
		hit        bool
	}{
		"the same":                 {body: chatPlain, hit: true},
		"in another order":         {body: `{ "messages":[{"content":"H\u0069","role":"user"}], "temperature":0.0,"model":"m"}`, hit: true},
		"another user":             {body: strings.Replace(chatPlain, "{", `{"user":"bob","metadata":{"a":1},`, 1), hit: true},
		"store false":              {body: strings.Replace(chatPlain, "{", `{"store":false,`, 1), hit: true},
		"another model":            {body: strings.Replace(chatPlain, `"m"`, `"n"`, 1)},
		"another text":             {body: strings.Replace(chatPlain, `Hi`, `hi`, 1)},
		"a seed":                   {body: strings.Replace(chatPlain, "{", `{"seed":1,`, 1)},
		"tools":                    {body: strings.Replace(chatPlain, "{", `{"tools":[{"type":"function"}],`, 1)},
		"max_tokens":               {body: strings.Replace(chatPlain, "{", `{"max_tokens":1,`, 1)},
		"an unknown member":        {body: strings.Replace(chatPlain, "{", `{"surprise":1,`, 1)},
		"a member twice":           {body: strings.Replace(chatPlain, "{", `{"model":"m",`, 1)},
		"a member in another case": {body: strings.Replace(chatPlain, "{", `{"Model":"x",`, 1)},
		"store":                    {body: strings.Replace(chatPlain, "{", `{"store":true,`, 1)},
		"another path":             {path: "/v2/chat/completions", body: chatPlain},
		"an escaped path":          {path: "/v1/chat%2Fcompletions", body: chatPlain},
		"a query":                  {path: chatPath + "?api-version=2", body: chatPlain},
		"another caller":           {body: chatPlain, header: []string{"Authorization", "Bearer bob"}},
		"another key":              {body: chatPlain, header: []string{"X-Api-Key", "k"}},
		"another beta":             {body: chatPlain, header: []string{"Anthropic-Beta", "b"}},
		"another host":             {body: chatPlain, header: []string{"X-Forwarded-Host", "evil.example"}},
		"a method override":        {body: chatPlain, header: []string{"X-HTTP-Method-Override", "DELETE"}},
		"another address":          {body: chatPlain, header: []string{"X-Forwarded-For", "10.0.0.1"}, hit: true},
		"another type":             {body: chatPlain, header: []string{"Content-Type", "text/plain"}},
		"a packed body":            {body: chatPlain, header: []string{"Content-Encoding", "gzip"}},
		"no-store":                 {body: chatPlain, header: []string{"Cache-Control", "no-store"}},
		"no-cache":                 {body: chatPlain, header: []string{"Cache-Control", "no-cache"}},
	} {
		u := responds(200, chatJSON, "Content-Type", jsonType)
		r := app(newCache(t, cache.Config{}), u.serve)
		post(r, chatPlain)
		path := chatPath
		if tt.path != "" {
			path = tt.path
		}
		w := do(r, request(http.MethodPost, path, tt.body, tt.header...))
		require.Equal(t, 200, w.Code, name)
		assert.Equal(t, tt.hit, strings.Contains(status(w), "; hit;"), "%s: %s", name, status(w))
		assert.Equal(t, tt.hit, u.calls.Load() == 1, name)
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	byTenant := func(c *gin.Context) (string, error) {
		if c.GetHeader("X-Tenant") == "" {
			return "", http.ErrNoCookie
		}
		return c.GetHeader("X-Tenant"), nil
	}
	for name, tt := range map[string]struct {
		cfg           cache.Config
		first, second []string
		hit           bool
	}{
		"strangers":                {cache.Config{}, []string{"Authorization", ""}, []string{"Authorization", ""}, false},
		"shared by all callers":    {cache.Config{Shared: true}, []string{"Authorization", ""}, []string{"Authorization", "Bearer b"}, true},
		"one tenant":               {cache.Config{Scope: byTenant}, []string{"X-Tenant", "a"}, []string{"X-Tenant", "a", "Authorization", "Bearer b"}, true},
		"two tenants":              {cache.Config{Scope: byTenant}, []string{"X-Tenant", "a"}, []string{"X-Tenant", "b"}, false},
		"no tenant":                {cache.Config{Scope: byTenant}, nil, nil, false},
		"a version":                {cache.Config{Version: func(c *gin.Context) string { return c.GetHeader("X-V") }}, []string{"X-V", "1"}, []string{"X-V", "2"}, false},
		"a header of the operator": {cache.Config{KeyHeaders: []string{"x-device"}}, []string{"X-Device", "1"}, []string{"X-Device", "2"}, false},
	} {
		u := responds(200, chatJSON, "Content-Type", jsonType)
		r := app(newCache(t, tt.cfg), u.serve)
		without := func(header []string) *http.Request {
			req := request(http.MethodPost, chatPath, chatPlain, header...)
			if req.Header.Get("Authorization") == "" {
				req.Header.Del("Authorization")
			}
			return req
		}
		do(r, without(tt.first))
		w := do(r, without(tt.second))
		assert.Equal(t, tt.hit, strings.Contains(status(w), "; hit;"), "%s: %s", name, status(w))
	}
}

func TestWhichResponsesAreStored(t *testing.T) {
	t.Parallel()
	warm := strings.Replace(chatPlain, `"temperature":0`, `"temperature":1`, 1)
	calls := strings.Replace(chatJSON, `"stop"`, `"tool_calls"`, 1)
	with := func(change func(*cache.LLM)) cache.Config {
		var l cache.LLM
		change(&l)
		return cache.Config{LLM: l}
	}
	for name, tt := range map[string]struct {
		cfg    cache.Config
		path   string
		body   string
		header []string
		u      *upstream
		hit    bool
		detail string
	}{
		"temperature 1":            {body: warm, u: responds(200, chatJSON, "Content-Type", jsonType), detail: "temperature"},
		"no temperature":           {body: `{"model":"m","messages":[]}`, u: responds(200, chatJSON, "Content-Type", jsonType), detail: "temperature"},
		"embeddings":               {path: "/v1/embeddings", body: `{"model":"m","input":"x"}`, u: responds(200, `{"data":[{"embedding":[1]}]}`, "Content-Type", jsonType), hit: true},
		"sampled":                  {cfg: with(func(l *cache.LLM) { l.AllowNonZeroTemperature = true }), body: warm, u: responds(200, chatJSON, "Content-Type", jsonType), hit: true},
		"opt in":                   {cfg: with(func(l *cache.LLM) { l.OptIn = "x-cache" }), body: warm, header: []string{"X-Cache", "on"}, u: responds(200, chatJSON, "Content-Type", jsonType), hit: true},
		"opt in, not allowed":      {body: warm, header: []string{"X-Cache", "on"}, u: responds(200, chatJSON, "Content-Type", jsonType)},
		"opt out":                  {cfg: with(func(l *cache.LLM) { l.OptIn = "x-cache" }), body: chatPlain, header: []string{"X-Cache", "off"}, u: responds(200, chatJSON, "Content-Type", jsonType), detail: "no-store"},
		"off":                      {cfg: with(func(l *cache.LLM) { l.Off = true }), body: chatPlain, u: responds(200, chatJSON, "Content-Type", jsonType), detail: "off"},
		"another known member":     {cfg: with(func(l *cache.LLM) { l.Fields = []string{"adapter"} }), body: strings.Replace(chatPlain, "{", `{"adapter":"a",`, 1), u: responds(200, chatJSON, "Content-Type", jsonType), hit: true},
		"an ignored member":        {cfg: with(func(l *cache.LLM) { l.Ignored = []string{"trace"} }), body: strings.Replace(chatPlain, "{", `{"trace":"a",`, 1), u: responds(200, chatJSON, "Content-Type", jsonType), hit: true},
		"an error":                 {body: chatPlain, u: responds(500, `{"error":{}}`, "Content-Type", jsonType)},
		"a bad request":            {body: chatPlain, u: responds(400, `{"error":{}}`, "Content-Type", jsonType)},
		"too many":                 {body: chatPlain, u: responds(429, `{"error":{}}`, "Content-Type", jsonType)},
		"an error with 200":        {body: chatPlain, u: responds(200, `{"error":{}}`, "Content-Type", jsonType)},
		"filtered":                 {body: chatPlain, u: responds(200, strings.Replace(chatJSON, `"stop"`, `"content_filter"`, 1), "Content-Type", jsonType)},
		"a call of a tool":         {body: chatPlain, u: responds(200, calls, "Content-Type", jsonType)},
		"a call of a tool, stored": {cfg: with(func(l *cache.LLM) { l.ToolCalls = true }), body: chatPlain, u: responds(200, calls, "Content-Type", jsonType), hit: true},
		"half a response":          {body: chatPlain, u: responds(200, chatJSON[:100], "Content-Type", jsonType)},
		"a wrong length":           {body: chatPlain, u: responds(200, chatJSON, "Content-Type", jsonType, "Content-Length", "7000")},
		"no type":                  {body: chatPlain, u: responds(200, chatJSON)},
		"packed":                   {body: chatPlain, u: responds(200, chatJSON, "Content-Type", jsonType, "Content-Encoding", "gzip")},
		"too long":                 {cfg: cache.Config{MaxEntry: 100}, body: chatPlain, u: responds(200, chatJSON, "Content-Type", jsonType)},
		"too long a request":       {cfg: cache.Config{MaxRequest: 50}, body: chatPlain, u: responds(200, chatJSON, "Content-Type", jsonType), detail: "request-too-long"},
		"a fault": {body: chatPlain, u: &upstream{handle: func(c *gin.Context) {
			_ = c.Error(http.ErrBodyNotAllowed)
			c.JSON(200, gin.H{"choices": []gin.H{{"finish_reason": "stop"}}})
		}}},
		"a stream":               {body: chatStream, u: streams(events("a", "b")...), hit: true},
		"a stream without end":   {body: chatStream, u: streams(events("a", "b")[:3]...)},
		"a stream with an error": {body: chatStream, u: streams(append(events("a")[:2], "data: {\"error\":{}}\n\n")...)},
		"generic JSON":           {path: "/v1/rerank", cfg: with(func(l *cache.LLM) { l.AllowNonZeroTemperature, l.Fields = true, []string{"documents", "query"} }), body: `{"query":"q","documents":["d"]}`, u: responds(200, `{"results":[]}`, "Content-Type", jsonType), hit: true},
	} {
		r := app(newCache(t, tt.cfg), tt.u.serve)
		path := chatPath
		if tt.path != "" {
			path = tt.path
		}
		first := do(r, request(http.MethodPost, path, tt.body, tt.header...))
		second := do(r, request(http.MethodPost, path, tt.body, tt.header...))
		assert.Equal(t, tt.hit, strings.Contains(status(second), "; hit;"), "%s: %s", name, status(second))
		if tt.hit {
			assert.Equal(t, first.Body.String(), second.Body.String(), name)
		} else {
			assert.EqualValues(t, 2, tt.u.calls.Load(), name)
		}
		if tt.detail != "" {
			assert.Contains(t, status(second), "detail="+tt.detail, name)
		}
	}
}

func TestResponseIsFreshForTTL(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := responds(200, chatJSON, "Content-Type", jsonType)
		r := app(newCache(t, cache.Config{LLM: cache.LLM{TTL: 30 * time.Second}}), u.serve)
		post(r, chatPlain)
		time.Sleep(29 * time.Second)
		w := post(r, chatPlain)
		require.Equal(t, "ginfer; hit; ttl=1", status(w))
		require.Equal(t, "29", w.Header().Get("Age"))
		time.Sleep(time.Second)
		require.Contains(t, status(post(r, chatPlain)), "fwd=miss")
		require.EqualValues(t, 2, u.calls.Load())
	})
}

// One form is converted to the other.
func TestForms(t *testing.T) {
	t.Parallel()
	stream := strings.Join(events("Hel", "lo"), "")
	sent := strings.Join(events("Hel", "lo")[:4], "") + usageEvent + "data: [DONE]\n\n"
	plain := strings.Replace(chatJSON, "%d", "1", 1)
	bare := strings.Replace(plain, `,"usage":{"total_tokens":9}`, "", 1)
	for name, tt := range map[string]struct {
		u             *upstream
		first, second string
		check         func(t *testing.T, body string)
	}{
		"a stream as JSON, usage not known": {streams(stream), chatStream, chatPlain, func(t *testing.T, body string) { t.Helper(); assert.JSONEq(t, bare, body) }},
		"a stream as JSON":                  {streams(sent), usageStream, chatPlain, func(t *testing.T, body string) { t.Helper(); assert.JSONEq(t, plain, body) }},
		"a stream without usage":            {streams(sent), usageStream, chatStream, func(t *testing.T, body string) { t.Helper(); assert.Equal(t, stream, body) }},
		"a stream with usage":               {streams(sent), usageStream, usageStream, func(t *testing.T, body string) { t.Helper(); assert.Equal(t, sent, body) }},
		"JSON as a stream": {responds(200, plain, "Content-Type", jsonType), chatPlain, chatStream, func(t *testing.T, body string) {
			t.Helper()
			assert.Contains(t, body, `"content":"Hello"`)
			assert.True(t, strings.HasSuffix(body, "data: [DONE]\n\n"))
			assert.NotContains(t, body, "usage")
		}},
		"JSON as a stream with usage": {responds(200, plain, "Content-Type", jsonType), chatPlain, usageStream, func(t *testing.T, body string) { t.Helper(); assert.Contains(t, body, `"usage":{"total_tokens":9}`) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := app(newCache(t, cache.Config{}), tt.u.serve)
			post(r, tt.first)
			w := post(r, tt.second)
			require.Contains(t, status(w), "; hit;")
			want := jsonType
			if tt.second != chatPlain {
				want = "text/event-stream"
			}
			assert.Equal(t, want, w.Header().Get("Content-Type"))
			tt.check(t, w.Body.String())
			require.EqualValues(t, 1, tt.u.calls.Load())
		})
	}
}

// A response that cannot be converted is fetched.
func TestFormsThatCannotBeConverted(t *testing.T) {
	t.Parallel()
	u := responds(200, strings.Replace(chatJSON, `"role"`, `"audio":{"a":1},"role"`, 1), "Content-Type", jsonType)
	r := app(newCache(t, cache.Config{}), u.serve)
	post(r, chatPlain)
	w := post(r, chatStream)
	require.Contains(t, status(w), "fwd=miss")
	require.EqualValues(t, 2, u.calls.Load())
	responses := responds(200, `{"status":"completed","output":[]}`, "Content-Type", jsonType)
	r = app(newCache(t, cache.Config{}), responses.serve)
	for _, body := range []string{`{"model":"m","input":"x","temperature":0}`, `{"model":"m","input":"x","temperature":0,"stream":true}`} {
		require.Contains(t, status(do(r, request(http.MethodPost, "/v1/responses", body))), "fwd=miss")
	}
}
