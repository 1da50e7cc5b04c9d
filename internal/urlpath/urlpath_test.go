package urlpath_test

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/urlpath"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckPasses(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"/", "", "*", "/v1/chat/completions", "/v1//models/", "/v1/models/llama-3.1-8b.gguf",
		"/.well-known/openid-configuration", "/..data/x", "/.../x", "/a..b", "/a./b", "/a../b", "/x;a=1/b", "/;..", "/x;../y",
		"/.a;b", "/%2e%2ea", "/%20", "/ä/日本", "/%C3%A4", "/%ff", "/%C2%85", "/a%2Fb", "/%252e%252e/x",
		"/?p=/../x", "/a%3Fb", "/a%25b",
	} {
		t.Run(raw, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse(raw)
			require.NoError(t, err)
			assert.NoError(t, urlpath.Check(u))
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	const dots, back, control = "a dot segment", "a backslash", "a control character"
	tests := []struct{ raw, what string }{
		{"/..", dots},
		{"/.", dots},
		{"..", dots},
		{".", dots},
		{"../x", dots},
		{"/./x", dots},
		{"/a/../b", dots},
		{"/a/..", dots},
		{"/a/../", dots},
		{"/a/./b", dots},
		{"/a//../x", dots},
		{"/%2e%2e/x", dots},
		{"/%2E%2E/x", dots},
		{"/.%2e/x", dots},
		{"/%2e./x", dots},
		{"/%2e/x", dots},
		{"/a%2f..%2fb", dots},
		{"/a%2F%2e%2E%2Fb", dots},
		{"/a/..%2f", dots},
		{"/..;/x", dots},
		{"/..;x=1/y", dots},
		{"/.;/x", dots},
		{"/%2e%2e%3bx/y", dots},
		{"/a/..;", dots},
		{`/a\b`, back},
		{"/a%5cb", back},
		{"/..%5c..%5cx", back},
		{"/%5C", back},
		{"/%00", control},
		{"/a%0d%0ab", control},
		{"/a%09b", control},
		{"/a%1fb", control},
		{"/a%7Fb", control},
		{"/..%00/x", control},
	}
	for _, tt := range tests {
		t.Run(tt.raw, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse(tt.raw)
			require.NoError(t, err)
			err = urlpath.Check(u)
			var e *apierror.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, &apierror.Error{Status: http.StatusBadRequest, Code: "bad_path", Message: "The request path has " + tt.what + "."}, e)
		})
	}
}

// FuzzCheck compares Check with path.Clean, which resolves like an upstream: of a path that
// passes, only slashes may be removed.
func FuzzCheck(f *testing.F) {
	for _, raw := range []string{"/v1/models", "//a//", "/a/../b", "/%2e%2e/x", "/..;x/y", "/a%5cb", "/...", "*", "", "/.a", "/a%00"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		paths := []string{raw}
		if u, err := url.ParseRequestURI(raw); err == nil {
			paths = append(paths, u.Path)
		}
		for _, p := range paths {
			if urlpath.Check(&url.URL{Path: p}) != nil {
				continue
			}
			assert.Equal(t, segments(p), segments(path.Clean("/"+p)), "%q", p)
			// Nor where path parameters are removed first.
			bare := segments(p)
			for i, s := range bare {
				bare[i], _, _ = strings.Cut(s, ";")
			}
			joined := strings.Join(bare, "/")
			assert.Equal(t, segments(joined), segments(path.Clean("/"+joined)), "%q", p)
			assert.False(t, strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f }), "%q", p)
		}
	})
}

func segments(p string) []string {
	return slices.DeleteFunc(strings.Split(p, "/"), func(s string) bool { return s == "" })
}

func BenchmarkCheck(b *testing.B) {
	u := &url.URL{Path: "/v1/chat/completions"}
	b.ReportAllocs()
	for b.Loop() {
		_ = urlpath.Check(u)
	}
}
