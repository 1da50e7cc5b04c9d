package live_test

import (
	"net/url"
	"testing"

	"github.com/ginfer/ginfer/examples/gateway/live"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCutPrefix(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"/strip":               "/",
		"/strip/":              "/",
		"/strip/a":             "/a",
		"/strip/a%2Fb":         "/a%2Fb",
		"/strip/a%2fb/%7e":     "/a%2fb/%7e",
		"/%73trip/a%2Fb":       "/a%2Fb",
		"/%73%74rip/%41%20b":   "/%41%20b",
		"//strip//a":           "//a",
		"/strip;x=1/a;y":       "/a;y",
		"/;/strip/a":           "/a",
		"/%2Fstrip%2Fa%2Fb":    "/a%2Fb",
		"/strip/strip/x":       "/strip/x",
		"/strip/%E2%82%AC/%ff": "/%E2%82%AC/%ff",
		"/strip/a'(b)!":        "/a'(b)!",
	} {
		u, err := url.ParseRequestURI(raw)
		require.NoError(t, err)
		live.CutPrefix(u, "/strip")
		assert.Equal(t, want, u.EscapedPath(), raw)
	}
	u := &url.URL{Path: "/a/b/c d"}
	live.CutPrefix(u, "/a/b")
	assert.Equal(t, "/c%20d", u.EscapedPath())
}
