package rfc9111_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/ginfer/ginfer/cache/internal/rfc9111"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseRequest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		header  http.Header
		noCache bool
	}{
		{"nothing", header(), false},
		{"Cache-Control", header("Cache-Control", "no-cache"), true},
		{"Pragma", header("Pragma", "no-cache"), true},
		{"Cache-Control precedes Pragma", header("Cache-Control", "max-age=1", "Pragma", "no-cache"), false},
		{"another Pragma", header("Pragma", "max-age=1"), false},
	} {
		c := rfc9111.ParseRequest(tt.header)
		assert.Equal(t, tt.noCache, c.NoCache, tt.name)
	}
	require.Equal(t, rfc9111.NoControl(), rfc9111.ParseRequest(header("Pragma", "max-age=1, no-store")), "only no-cache has a meaning in Pragma")
}

func TestVary(t *testing.T) {
	t.Parallel()
	require.Empty(t, rfc9111.Vary(header()))
	require.Equal(t, []string{"Accept", "X-A"}, rfc9111.Vary(header("Vary", "x-a, accept", "Vary", "Accept")))
	require.Equal(t, []string{"Accept", "Accept-Encoding"}, rfc9111.Vary(header("Vary", "accept", "Content-Encoding", "gzip")), "an encoded response varies")
}

func TestMergeVary(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"A", "B", "C"}, rfc9111.MergeVary([]string{"B", "C"}, []string{"A", "B"}))
	many := make([]string, rfc9111.MaxVary)
	for i := range many {
		many[i] = "X-" + strconv.Itoa(10+i)
	}
	require.Equal(t, []string{"A"}, rfc9111.MergeVary(many, []string{"A"}), "too many")
	require.Equal(t, many, rfc9111.MergeVary(many, many[:1]))
}

func TestStoredHeader(t *testing.T) {
	t.Parallel()
	given := header("Age", "3", "Content-Length", "5", "X-A", "a")
	require.Equal(t, header("X-A", "a", "Date", httpTime(0)), rfc9111.StoredHeader(given, received))
	require.Equal(t, "3", given.Get("Age"), "the original is unchanged")
	require.Equal(t, header("Date", httpTime(time.Hour)), rfc9111.StoredHeader(header("Date", httpTime(time.Hour)), received))
	require.Equal(t, header("Date", httpTime(0)), rfc9111.StoredHeader(nil, received))
}

func TestFreshen(t *testing.T) {
	t.Parallel()
	stored := header("Content-Type", "text/plain", "ETag", `"a"`, "X-A", "1", "Date", httpTime(time.Hour))
	update := header("Content-Type", "text/html", "Content-Length", "0", "Content-Encoding", "gzip", "Content-Range", "bytes 0-1/2", "Content-MD5", "x", "ETag", `"b"`, "X-A", "2", "Cache-Control", "max-age=60")
	require.Equal(t, header("Content-Type", "text/html", "ETag", `"a"`, "X-A", "2", "Cache-Control", "max-age=60", "Date", httpTime(0)), rfc9111.Freshen(stored, update, received))
	require.Equal(t, `"b"`, rfc9111.Freshen(header(), update, received).Get("ETag"), "there was none")
	update.Set("Date", httpTime(time.Minute))
	require.Equal(t, httpTime(time.Minute), rfc9111.Freshen(stored, update, received).Get("Date"))
	require.Equal(t, "1", stored.Get("X-A"), "the original is unchanged")
}

func TestSetConditions(t *testing.T) {
	t.Parallel()
	client := header("If-None-Match", `"client"`, "If-Modified-Since", httpTime(time.Hour), "Accept", "a")
	for _, tt := range []struct {
		name   string
		stored http.Header
		want   http.Header
	}{
		{"nothing is stored", nil, header("Accept", "a")},
		{"no validators", header("X-A", "a"), header("Accept", "a")},
		{"ETag", header("ETag", `W/"a"`), header("Accept", "a", "If-None-Match", `W/"a"`)},
		{"both", header("ETag", `"a"`, "Last-Modified", httpTime(0)), header("Accept", "a", "If-None-Match", `"a"`, "If-Modified-Since", httpTime(0))},
	} {
		h := client.Clone()
		rfc9111.SetConditions(h, tt.stored)
		assert.Equal(t, tt.want, h, tt.name)
	}
}

func TestNotModified(t *testing.T) {
	t.Parallel()
	tagged := header("ETag", `"a"`)
	weak := header("ETag", `W/"a"`)
	modified := header("Last-Modified", httpTime(time.Minute))
	for _, tt := range []struct {
		name   string
		req    http.Header
		status int
		res    http.Header
		want   bool
	}{
		{"no condition", header(), 200, tagged, false},
		{"same tag", header("If-None-Match", `"a"`), 200, tagged, true},
		{"another tag", header("If-None-Match", `"b"`), 200, tagged, false},
		{"weak comparison", header("If-None-Match", `"a"`), 200, weak, true},
		{"weak in the request", header("If-None-Match", `W/"a"`), 200, tagged, true},
		{"in a list", header("If-None-Match", `"x,y" , W/"z", "a"`), 200, tagged, true},
		{"in a second field", header("If-None-Match", `"x"`, "If-None-Match", `"a"`), 200, tagged, true},
		{"any", header("If-None-Match", ` * `), 200, header(), true},
		{"no tag", header("If-None-Match", `""`), 200, header(), false},
		{"unquoted", header("If-None-Match", `a`), 200, tagged, false},
		{"unterminated", header("If-None-Match", `"a`), 200, tagged, false},
		{"tags precede dates", header("If-None-Match", `"b"`, "If-Modified-Since", httpTime(0)), 200, header("ETag", `"a"`, "Last-Modified", httpTime(time.Minute)), false},
		{"not modified since", header("If-Modified-Since", httpTime(time.Minute)), 200, modified, true},
		{"modified since", header("If-Modified-Since", httpTime(time.Hour)), 200, modified, false},
		{"invalid date", header("If-Modified-Since", "yesterday"), 200, modified, false},
		{"no date", header("If-Modified-Since", httpTime(0)), 200, header(), false},
		{"another status", header("If-None-Match", `"a"`), 404, tagged, false},
	} {
		assert.Equal(t, tt.want, rfc9111.NotModified(tt.req, tt.status, tt.res), tt.name)
	}
}

func TestNotModifiedHeader(t *testing.T) {
	t.Parallel()
	given := header("Content-Type", "text/plain", "Content-Length", "3", "Content-Location", "/x", "ETag", `"a"`, "Vary", "Accept")
	require.Equal(t, header("Content-Location", "/x", "ETag", `"a"`, "Vary", "Accept"), rfc9111.NotModifiedHeader(given))
	require.Equal(t, "3", given.Get("Content-Length"), "the original is unchanged")
}

func TestDescribes(t *testing.T) {
	t.Parallel()
	stored := header("ETag", `"a"`, "Last-Modified", httpTime(time.Hour))
	for _, tt := range []struct {
		name string
		head http.Header
		want bool
	}{
		{"nothing differs", header("X-A", "a"), true},
		{"same validators and length", header("ETag", `"a"`, "Last-Modified", httpTime(time.Hour), "Content-Length", "5"), true},
		{"another tag", header("ETag", `"b"`), false},
		{"another date", header("ETag", `"a"`, "Last-Modified", httpTime(0)), false},
		{"another length", header("ETag", `"a"`, "Content-Length", "6"), false},
	} {
		assert.Equal(t, tt.want, rfc9111.Describes(tt.head, stored, 5), tt.name)
	}
}
