package live_test

import (
	"testing"

	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFind(t *testing.T) {
	t.Parallel()
	g, err := gatewaytest.Load(t, gatewaytest.Write(t, "my.json", `{`+gatewaytest.UpstreamA+`, "groups": [
		{"path": "/", "stages": [], "upstream": "a"},
		{"path": "/v1", "stages": [], "upstream": "a"},
		{"path": "/v1/models/", "stages": [], "upstream": "a"}]}`))
	require.NoError(t, err)
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
	} {
		assert.Equal(t, want, g.Current().Find(path).Config.Path, path)
	}
}
