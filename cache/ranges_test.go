package cache_test

import (
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	tenBytes = "0123456789"
	lastYear = "Sat, 29 Nov 2025 12:00:00 GMT"
)

// stored returns an application that has a response stored at /.
func stored(t *testing.T, body string, header ...string) (http.Handler, *upstream) {
	t.Helper()
	u := responds(http.StatusOK, body, append([]string{"Cache-Control", "max-age=60", "Content-Type", "text/plain"}, header...)...)
	r := app(newCache(t, cache.Config{}), u.serve)
	require.Equal(t, body, get(r, "/").Body.String())
	return r, u
}

// A whole stored response serves the ranges of it that clients want (RFC 9110 §14).
func TestRangesOfAStoredResponse(t *testing.T) {
	t.Parallel()
	validators := []string{"ETag", `"a"`, "Last-Modified", lastYear}
	for _, tt := range []struct {
		name   string
		header []string
		code   int
		body   string
		want   string // Content-Range
	}{
		{name: "first bytes", header: []string{"Range", "bytes=0-1"}, code: 206, body: "01", want: "bytes 0-1/10"},
		{name: "without an end", header: []string{"Range", "bytes=7-"}, code: 206, body: "789", want: "bytes 7-9/10"},
		{name: "last bytes", header: []string{"Range", "bytes=-2"}, code: 206, body: "89", want: "bytes 8-9/10"},
		{name: "more last bytes than there are", header: []string{"Range", "bytes=-99"}, code: 206, body: tenBytes, want: "bytes 0-9/10"},
		{name: "beyond the end", header: []string{"Range", "bytes=8-99"}, code: 206, body: "89", want: "bytes 8-9/10"},
		{name: "unit in another case", header: []string{"Range", "Bytes=0-0"}, code: 206, body: "0", want: "bytes 0-0/10"},
		{name: "not satisfiable", header: []string{"Range", "bytes=10-"}, code: 416, want: "bytes */10"},
		{name: "too many", header: []string{"Range", "bytes=" + strings.Repeat("0-0,", 30) + "1-1"}, code: 200, body: tenBytes},
		{name: "more than the whole", header: []string{"Range", "bytes=0-8,1-9"}, code: 200, body: tenBytes},
		{name: "If-Range with the tag", header: []string{"Range", "bytes=0-1", "If-Range", `"a"`}, code: 206, body: "01", want: "bytes 0-1/10"},
		{name: "If-Range with another tag", header: []string{"Range", "bytes=0-1", "If-Range", `"b"`}, code: 200, body: tenBytes},
		{name: "If-Range with a weak tag", header: []string{"Range", "bytes=0-1", "If-Range", `W/"a"`}, code: 200, body: tenBytes},
		{name: "If-Range with the date", header: []string{"Range", "bytes=0-1", "If-Range", lastYear}, code: 206, body: "01", want: "bytes 0-1/10"},
		{name: "If-Range with another date", header: []string{"Range", "bytes=0-1", "If-Range", "Sat, 29 Nov 2025 12:00:01 GMT"}, code: 200, body: tenBytes},
		{name: "If-Range without Range", header: []string{"If-Range", `"b"`}, code: 200, body: tenBytes},
		{name: "If-None-Match comes first", header: []string{"Range", "bytes=0-1", "If-None-Match", `"a"`}, code: 304},
		{name: "If-None-Match of another", header: []string{"Range", "bytes=0-1", "If-None-Match", `"b"`}, code: 206, body: "01", want: "bytes 0-1/10"},
	} {
		r, u := stored(t, tenBytes, validators...)
		w := get(r, "/", tt.header...)
		assert.Equal(t, tt.code, w.Code, tt.name)
		assert.Equal(t, tt.body, w.Body.String(), tt.name)
		assert.Equal(t, tt.want, w.Header().Get("Content-Range"), tt.name)
		assert.Contains(t, status(w), "; hit", tt.name)
		if tt.code == http.StatusPartialContent {
			assert.Equal(t, `"a"`, w.Header().Get("ETag"), tt.name)
			assert.Equal(t, "text/plain", w.Header().Get("Content-Type"), tt.name)
			assert.NotEmpty(t, w.Header().Get("Age"), tt.name)
		}
		assert.EqualValues(t, 1, u.calls.Load(), tt.name)
		assert.Equal(t, tenBytes, get(r, "/").Body.String(), "%s: the entry is unchanged", tt.name)
	}
}

func TestSeveralRanges(t *testing.T) {
	t.Parallel()
	r, _ := stored(t, strings.Repeat(tenBytes, 10))
	w := get(r, "/", "Range", "bytes=0-1, -2")
	require.Equal(t, http.StatusPartialContent, w.Code)
	kind, parameters, err := mime.ParseMediaType(w.Header().Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/byteranges", kind)
	parts := multipart.NewReader(w.Body, parameters["boundary"])
	for _, want := range [][2]string{{"bytes 0-1/100", "01"}, {"bytes 98-99/100", "89"}} {
		part, err := parts.NextPart()
		require.NoError(t, err)
		require.Equal(t, want[0], part.Header.Get("Content-Range"))
		require.Equal(t, "text/plain", part.Header.Get("Content-Type"))
		body, err := io.ReadAll(part)
		require.NoError(t, err)
		require.Equal(t, want[1], string(body))
	}
}

// What is no range, or no part of a whole, is left to the upstream.
func TestRangesForTheUpstream(t *testing.T) {
	t.Parallel()
	for name, header := range map[string][]string{
		"malformed":     {"Range", "bytes=abc"},
		"empty":         {"Range", "bytes="},
		"another unit":  {"Range", "tokens=0-1"},
		"precondition":  {"Range", "bytes=0-1", "If-Match", `"a"`},
		"of no-cache":   {"Range", "bytes=0-1", "Cache-Control", "no-cache"},
		"other variant": {"Range", "bytes=0-1", "Accept", "b"},
	} {
		r, u := stored(t, tenBytes, "Vary", "Accept")
		get(r, "/", header...)
		assert.EqualValues(t, 2, u.calls.Load(), name)
	}
}

// Range has a meaning for GET only.
func TestHeadWithARange(t *testing.T) {
	t.Parallel()
	r, u := stored(t, tenBytes)
	req := httptest.NewRequest(http.MethodHead, "/", nil)
	req.Header.Set("Range", "bytes=0-1")
	w := do(r, req)
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "10", w.Header().Get("Content-Length"))
	require.EqualValues(t, 1, u.calls.Load())
}

// A partial response must not become the response to a request for the whole.
func TestPartialResponsesAreNotStored(t *testing.T) {
	t.Parallel()
	u := &upstream{handle: func(c *gin.Context) {
		c.Header("Cache-Control", "max-age=60")
		http.ServeContent(c.Writer, c.Request, "a.txt", time.Time{}, strings.NewReader(tenBytes))
	}}
	r := app(newCache(t, cache.Config{}), u.serve)
	require.Equal(t, "01", get(r, "/", "Range", "bytes=0-1").Body.String())
	require.Equal(t, tenBytes, get(r, "/").Body.String())
	require.Equal(t, "23", get(r, "/", "Range", "bytes=2-3").Body.String())
	require.EqualValues(t, 2, u.calls.Load())
}
