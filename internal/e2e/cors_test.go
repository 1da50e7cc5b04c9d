package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
)

// permissiveUpstream is a model that allows every origin, as vLLM does.
func permissiveUpstream(t *testing.T) string {
	t.Helper()
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, fullStream)
	}))
	return s.URL
}

// blankPage serves a page on its own origin.
func blankPage(t *testing.T) string {
	t.Helper()
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><link rel=icon href=data:,><p>page</p>")
	}))
	return s.URL
}

func startForOrigins(t *testing.T, origin string) *process {
	t.Helper()
	return start(t, fmt.Sprintf(`{%s, "upstreams": {"a": {"endpoints": [{"url": %q}]}},
		"groups": [{"path": "/v1", "cors": {"origins": [%q]}, "routing": {"table": {"routes": [{"model": "m", "version": "v1", "upstream": "a"}]}}}]}`, ports, permissiveUpstream(t), origin))
}

func TestCORS(t *testing.T) {
	p := startForOrigins(t, "https://*.example.com")
	client := newClient(t, 1)
	preflight := func(origin string) response {
		res, _ := p.send(client, http.MethodOptions, p.public+"/v1/chat/completions", "", "Origin", origin,
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type,x-stainless-os")
		return res
	}
	res := preflight("https://app.example.com")
	assert.Equal(t, http.StatusNoContent, res.StatusCode, "without a token")
	assert.Equal(t, "https://app.example.com", res.Header.Get("Access-Control-Allow-Origin"))
	assert.Equal(t, "POST", res.Header.Get("Access-Control-Allow-Methods"))
	assert.Contains(t, res.Header.Get("Access-Control-Allow-Headers"), "x-stainless-os")
	assert.Equal(t, "600", res.Header.Get("Access-Control-Max-Age"))
	for _, origin := range []string{"https://evil.com", "http://app.example.com", "https://app.example.com.evil.com", "https://example.com", "null"} {
		assert.Empty(t, preflight(origin).Header.Get("Access-Control-Allow-Origin"), origin)
	}

	res, text := p.sendText(client, cacheableChat, "Origin", "https://app.example.com", "Authorization", "Bearer "+p.token)
	assert.Equal(t, fullStream, text)
	assert.Equal(t, []string{"https://app.example.com"}, res.Header["Access-Control-Allow-Origin"], "sent once, by the gateway")
	assert.Empty(t, res.Header["Access-Control-Allow-Credentials"])
	assert.Contains(t, res.Header.Get("Access-Control-Expose-Headers"), "X-Model-Version")
	assert.Contains(t, res.Header.Values("Vary"), "Origin")
	refused, _ := p.sendText(client, cacheableChat, "Origin", "https://app.example.com", "Authorization", "Bearer no")
	assert.Equal(t, http.StatusUnauthorized, refused.StatusCode)
	assert.NotEmpty(t, refused.Header.Get("Access-Control-Allow-Origin"), "the page may read why")
	other, _ := p.sendText(client, cacheableChat, "Origin", "https://evil.com", "Authorization", "Bearer "+p.token)
	assert.Empty(t, other.Header["Access-Control-Allow-Origin"])
}

// A page in a browser can stream from the gateway only when its origin is allowed.
func TestBrowserCORS(t *testing.T) {
	mine, other := blankPage(t), blankPage(t)
	p := startForOrigins(t, mine)
	b := newBrowser(t)
	ask := fmt.Sprintf(`(window.got = "",
		fetch(%q, {method: "POST", headers: {"Authorization": "Bearer " + %q, "Content-Type": "application/json", "X-User-Id": "u"}, body: %q})
		.then(async (r) => { window.got = r.headers.get("x-model-version") + " " + r.status + " " + await r.text() }, () => { window.got = "refused" }))`,
		p.public+"/v1/chat/completions", p.token, cacheableChat)
	for page, want := range map[string]string{mine: "v1 200 " + fullStream, other: "refused"} {
		b.do(chromedp.Navigate(page))
		b.text(ask)
		b.until(`window.got !== ""`)
		assert.Equal(t, want, b.text("window.got"), page)
	}
}
