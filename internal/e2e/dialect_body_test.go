package e2e_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"net/http"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// modelRoutes routes small models to "a" and big ones to "b".
func modelRoutes() *routing.Table {
	return &routing.Table{Routes: []routing.Route{{Model: "small-*", Version: "one", Upstream: "a"}, {Model: "big-*", Version: "two", Upstream: "b"}}}
}

// chatUpstream is an upstream with the same JSON response to every request.
func chatUpstream(t *testing.T, name string) *scripted {
	t.Helper()
	return startScripted(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("X-Upstream", name)
		writeResponse(w, 200, jsonMedia, openAIChatJSON().shapes[0].whole())
	})
}

// twoModels is a gateway that routes by model.
func twoModels(t *testing.T, setup dialectSetup) (g *dialectGateway, small, big *scripted) {
	t.Helper()
	small, big = chatUpstream(t, "small"), chatUpstream(t, "big")
	setup.table, setup.urls = modelRoutes(), []string{big.URL}
	return small.gateway(t, setup), small, big
}

// base64Of returns size bytes that look like a picture.
func base64Of(size int) string { return strings.Repeat("iVBORw0KGgoAAAANSUhEUgAA", size/24) }

func pictureOf(size int) string {
	return `"messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,` + base64Of(size) + `"}}]}]`
}

// All stages share one bound. A body with a picture is neither refused nor charged by its
// bytes, and what exceeds the bound is streamed.
func TestDialectLargeBodies(t *testing.T) {
	t.Parallel()
	const mega = 1 << 20
	pdf := `"messages":[{"role":"user","content":[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"` + base64Of(20*mega) + `"}},{"type":"text","text":"Sum up."}]}]`
	anthropic := `"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + base64Of(6*mega) + `"}}]}]`
	tests := map[string]struct{ path, body string }{
		"5.3 MB with a picture":                      {chatPath, `{"model":"small-1",` + pictureOf(53*mega/10) + `}`},
		"6 MB with a picture of Anthropic":           {"/v1/messages", `{"model":"small-1","max_tokens":64,` + anthropic + `}`},
		"20 MB of a PDF":                             {"/v1/messages", `{"model":"small-1","max_tokens":64,` + pdf + `}`},
		"the model behind the picture":               {chatPath, `{` + pictureOf(53*mega/10) + `,"model":"small-1"}`},
		"more than the bound, the model is in front": {chatPath, `{"model":"small-1",` + pictureOf(40*mega) + `}`},
	}
	for name, tt := range tests {
		for _, routed := range []bool{true, false} {
			title := name + ", not routed"
			if routed {
				title = name + ", routed"
			}
			scenario(t, title, func(t *testing.T, v *findings) {
				t.Helper()
				up := chatUpstream(t, "small")
				setup := dialectSetup{limits: true, burst: 100_000}
				if routed {
					setup.table = &routing.Table{Routes: []routing.Route{{Model: "small-*", Version: "one", Upstream: "a"}}}
				}
				g := up.gateway(t, setup)
				got := g.send(t, dialectRequest{path: tt.path, body: tt.body})
				v.noError(got.err)
				assert.Equal(v, 200, got.status)
				assert.LessOrEqual(v, g.charged(), int64(10_000))
				assert.LessOrEqual(v, g.maxReserved(), int64(10_000))
				if seen := up.requests(); assert.Len(v, seen, 1) {
					v.same(tt.body, seen[0].body)
				}
				assert.Equal(v, 200, g.send(t, chatOf("small-1", "")).status, "later requests succeed")
			})
		}
	}
	scenario(t, "a refusal that the client can read", func(t *testing.T, v *findings) {
		t.Helper()
		g, _, _ := twoModels(t, dialectSetup{})
		got := g.send(t, dialectRequest{path: chatPath, body: `{` + pictureOf(40*mega) + `,"model":"small-1"}`})
		v.noError(got.err)
		assert.Equal(v, http.StatusRequestEntityTooLarge, got.status)
		assert.Contains(v, got.body, `"error"`)
	})
}

// The model is found wherever the API has it. Where it is unknown, a key for some models is
// refused.
func TestDialectFindsModel(t *testing.T) {
	t.Parallel()
	form := formData(map[string]string{"model": "big-1"}, "hello.mp3", 3000)
	form.path = "/v1/audio/transcriptions"
	last := formData(nil, "hello.mp3", 3000)
	last.path = "/v1/audio/translations"
	last.body = strings.Replace(last.body, "\r\n------WebKitFormBoundary7MA4YWxkTrZu0gW--", "\r\n------WebKitFormBoundary7MA4YWxkTrZu0gW\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nbig-1\r\n------WebKitFormBoundary7MA4YWxkTrZu0gW--", 1)
	places := map[string]dialectRequest{
		"in JSON":                       chatOf("big-1", ""),
		"in a form":                     form,
		"in a form, behind the file":    last,
		"in the query":                  {method: http.MethodGet, path: "/v1/realtime?model=big-1"},
		"in the path of Gemini":         {path: "/v1beta/models/big-1:generateContent", body: `{"contents":[{"parts":[{"text":"Hi"}]}]}`},
		"in the path of Vertex":         {path: "/v1/projects/p/locations/l/publishers/google/models/big-1:streamGenerateContent?alt=sse", body: `{"contents":[{"parts":[{"text":"Hi"}]}]}`},
		"in the path of an Azure":       {path: "/openai/deployments/big-1/chat/completions?api-version=2024-10-21", body: `{` + chatMessages + `}`},
		"in the path of Azure's speech": {path: "/openai/deployments/big-1/audio/speech?api-version=2024-10-21", body: `{"input":"Hi","voice":"alloy"}`},
	}
	for name, ask := range places {
		scenario(t, name+", routed", func(t *testing.T, v *findings) {
			t.Helper()
			g, small, big := twoModels(t, dialectSetup{})
			got := g.send(t, ask)
			assert.Equal(v, 200, got.status, "%s", got.body)
			assert.Len(v, big.requests(), 1)
			assert.Empty(v, small.requests())
		})
		scenario(t, name+", a key for others", func(t *testing.T, v *findings) {
			t.Helper()
			up := chatUpstream(t, "small")
			g := up.gateway(t, dialectSetup{authn: restricted("small-*")})
			got := g.send(t, ask)
			assert.Equal(v, http.StatusForbidden, got.status)
			assert.Empty(v, up.requests())
		})
		scenario(t, name+", a key for it", func(t *testing.T, v *findings) {
			t.Helper()
			up := chatUpstream(t, "small")
			g := up.gateway(t, dialectSetup{authn: restricted("big-*")})
			assert.Equal(v, 200, g.send(t, ask).status)
		})
	}
	for name, ask := range map[string]dialectRequest{
		"nowhere":                 {path: chatPath, body: `{` + chatMessages + `}`},
		"in a body of no form":    {path: "/v1/audio/transcriptions", body: "sound", header: map[string]string{"Content-Type": "audio/mpeg"}},
		"nowhere, of an upgrade":  {method: http.MethodGet, path: "/v1/realtime", header: map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}},
		"in the query of another": {method: http.MethodGet, path: "/v1/realtime?model=big-1&model=small-1", header: map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}},
	} {
		scenario(t, name+", a key for some is refused", func(t *testing.T, v *findings) {
			t.Helper()
			up := chatUpstream(t, "small")
			g := up.gateway(t, dialectSetup{authn: restricted("small-*")})
			got := g.send(t, ask)
			assert.GreaterOrEqual(v, got.status, 400)
			assert.Less(v, got.status, 500)
			assert.Empty(v, up.requests())
		})
	}
}

// restricted authenticates a caller that may use some models only.
func restricted(models ...string) gin.HandlersChain {
	return gin.HandlersChain{func(c *gin.Context) {
		id := &auth.Identity{Subject: "team", Issuer: "test", Models: models}
		c.Request = c.Request.WithContext(auth.NewContext(c.Request.Context(), id))
	}, auth.RequireModel(auth.RequireModelConfig{})}
}

// zstdOf returns a frame with one uncompressed block (RFC 8878).
func zstdOf(text string) string {
	head := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x60}
	head = binary.LittleEndian.AppendUint16(head, uint16(len(text)-256))
	size := uint32(len(text))<<3 | 1
	return string(append(head, byte(size), byte(size>>8), byte(size>>16))) + text
}

func gzipOf(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

// A compressed request is decoded, within a bound, when a stage reads it.
func TestDialectCompressedRequests(t *testing.T) {
	t.Parallel()
	plain := chatOf("big-1", `"user":"`+strings.Repeat("u", 300)+`",`)
	bomb := `{"model":"big-1",` + strings.Repeat(" ", 64<<20) + chatMessages + `}`
	packed := map[string]dialectRequest{
		"gzip": {path: chatPath, body: gzipOf(t, plain.body), header: map[string]string{"Content-Encoding": "gzip"}},
		"zstd": {path: chatPath, body: zstdOf(plain.body), header: map[string]string{"Content-Encoding": "zstd"}},
		"GZIP": {path: chatPath, body: gzipOf(t, plain.body), header: map[string]string{"Content-Encoding": "GZIP"}},
	}
	for name, ask := range packed {
		scenario(t, name+", routed", func(t *testing.T, v *findings) {
			t.Helper()
			g, small, big := twoModels(t, dialectSetup{limits: true, authn: restricted("big-*")})
			got := g.send(t, ask)
			assert.Equal(v, 200, got.status)
			assert.Empty(v, small.requests())
			if seen := big.requests(); assert.Len(v, seen, 1) {
				assert.Contains(v, []string{ask.body, plain.body}, seen[0].body)
				assert.Equal(v, seen[0].body == ask.body, seen[0].header.Get("Content-Encoding") != "", "the header matches the body")
			}
		})
		scenario(t, name+", no stage reads it", func(t *testing.T, v *findings) {
			t.Helper()
			up := chatUpstream(t, "small")
			g := up.gateway(t, dialectSetup{})
			assert.Equal(v, 200, g.send(t, ask).status)
			if seen := up.requests(); assert.Len(v, seen, 1) {
				assert.Equal(v, ask.body, seen[0].body)
			}
		})
	}
	for name, tt := range map[string]struct {
		encoding, body string
		status         int
	}{
		"an encoding that is not known": {"br", "\x0b\x02\x80", http.StatusUnsupportedMediaType},
		"two encodings, one not known":  {"br, gzip", gzipOf(t, "\x0b\x02\x80"), http.StatusUnsupportedMediaType},
		"no gzip":                       {"gzip", plain.body, http.StatusBadRequest},
		"much more than it looks":       {"gzip", gzipOf(t, bomb), http.StatusRequestEntityTooLarge},
	} {
		scenario(t, name+", routed", func(t *testing.T, v *findings) {
			t.Helper()
			g, small, big := twoModels(t, dialectSetup{})
			got := g.send(t, dialectRequest{path: chatPath, body: tt.body, header: map[string]string{"Content-Encoding": tt.encoding}})
			assert.Equal(v, tt.status, got.status)
			assert.Empty(v, append(small.requests(), big.requests()...))
		})
	}
}
