package live_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/ginfer/ginfer/examples/gateway/live"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func app(tb testing.TB, paths ...string) *live.App {
	tb.Helper()
	groups := make([]string, len(paths))
	for i, path := range paths {
		groups[i] = fmt.Sprintf(`{"path": %q, "stages": [], "upstream": "a"}`, path)
	}
	g, err := gatewaytest.Load(tb, gatewaytest.Write(tb, "my.json", `{`+gatewaytest.UpstreamA+`, "groups": [`+strings.Join(groups, ",")+`]}`))
	require.NoError(tb, err)
	return g.Current()
}

func found(t *testing.T, a *live.App, raw string) string {
	t.Helper()
	u, err := url.ParseRequestURI(raw)
	require.NoError(t, err)
	if g := a.Find(u.Path); g != nil {
		return g.Config.Path
	}
	return ""
}

func TestFind(t *testing.T) {
	t.Parallel()
	a := app(t, "/", "/v1", "/v1/models/")
	for path, want := range map[string]string{
		"/":              "/",
		"/v1":            "/v1",
		"/v1/":           "/v1",
		"/v1/chat":       "/v1",
		"/v10":           "/",
		"/v1/models":     "/v1/models/",
		"/v1/models/x":   "/v1/models/",
		"//v1//models":   "/v1/models/",
		"/v1;x=y/models": "/v1/models/",
		"/v1;/chat":      "/v1",
		"/other":         "/",
		"/Other/Page":    "/",
		"/a%20b/c.":      "/",
		"/%E2%82%AC":     "/",
		"/%ff":           "/",
		"/v1/Chat":       "/v1",
		"/v1/a%2Fb":      "/v1",
		"/100%25":        "/",
		"/.well-known/x": "/",
	} {
		assert.Equal(t, want, found(t, a, path), path)
	}
}

// No spelling of a path that some server takes for one of a group passes another group.
func TestOtherSpellingsMatchNoGroup(t *testing.T) {
	t.Parallel()
	a := app(t, "/", "/v1", "/v1/admin", "/Docs")
	for _, path := range []string{
		"/V1/MODELS", "/V1", "/docs/x", "/v1/ADMIN/x", "/v1/Admin", // case-insensitive
		"/v1%20/models", "/%20v1/models", "/v1./models", "/v1.%20./models", "/v1/admin.", "/v1/admin%20%20", // Windows
		"/v1%09/models", "/v%0a1/models", "/v1%0d/x", "/v1%00/models", "/v1%00.png", "/v1%7f/x", // WHATWG, C
		"/v1%C2%AD/x", "/v1%E2%80%8B/x", "/%EF%BB%BFv1/x", "/v1%C2%85/x", "/v1%C2%A0/x", "/v1%EF%B8%8F/x", // invisible ones
		"/%EF%BD%96%EF%BC%91/models", "/v%C2%B9/x", "/v%E2%91%A0/x", "%E2%85%B4", // full width and the like
		"/x/..%2fv1", "/x/../v1/models", "/./v1", "/x/%2e%2e/v1", "/x/..;/v1", "/x/..;a=b/v1", "/%2e/v1/models", "/x/%252e%252e/v1", "/x/%25252e./v1", // dot segments
		"/x%EF%BC%8F..%EF%BC%8Fv1", "/%E2%80%A5/v1", "/x/%C0%AE%C0%AE/v1", "/x%C0%AF..%C0%AFv1", "/x/%E0%80%AE%E0%80%AE/v1", "/x%F0%80%80%AF..%F0%80%80%AFv1", // overlong
		`/x%5c..%5cv1`, `/%5cv1%5cmodels`, `/v1%5cmodels`, `/v1/admin%5cx`, // backslashes
		"/%2576%31/models", "/%25761", "/v1%253Bx/models", "/v1%252Fmodels", "/v1/%2561dmin", // decoded twice
		"/v1/%61DMIN", "/v%EF%BC%91",
	} {
		if path[0] != '/' {
			path = "/v1/../" + path
		}
		assert.Empty(t, found(t, a, path), path)
	}
	for path, want := range map[string]string{"/%761/models": "/v1", "/v1/%61dmin": "/v1/admin", "/v1%2Fadmin": "/v1/admin", "/%2Fv1": "/v1", "/Docs/a": "/Docs", "/v1/%C0%AEx": "/v1"} {
		assert.Equal(t, want, found(t, a, path), path)
	}
}

// Groups may differ in case alone: each is found by its own.
func TestGroupsThatDifferInCase(t *testing.T) {
	t.Parallel()
	a := app(t, "/v1", "/V1")
	assert.Equal(t, "/v1", found(t, a, "/v1/x"))
	assert.Equal(t, "/V1", found(t, a, "/V1/x"))
}

// FuzzFind: what a lenient normalization takes for a path of the guarded group never passes
// the open one.
func FuzzFind(f *testing.F) {
	for _, path := range []string{"/v1", "/V1/x", "/x/..%2fv1", "/v1%20", "/%2e%2e;/v1", "/\xc0\xafv1"} {
		f.Add(path)
	}
	a := app(f, "/", "/v1")
	f.Fuzz(func(t *testing.T, path string) {
		if g := a.Find(path); g != nil && g.Config.Path == "/" {
			assert.NotRegexp(t, `(?i)^[/\\\s]*v1[\s.]*(;[^/]*)?([/\\]|$)`, path)
		}
	})
}
