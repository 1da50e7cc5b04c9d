package urlpath_test

import (
	"net/url"
	"testing"

	"github.com/ginfer/ginfer/internal/urlpath"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A relay passes control characters, and refuses what an upstream resolves.
func TestCheckRelay(t *testing.T) {
	t.Parallel()
	for raw, passes := range map[string]bool{
		"/a%09b": true, "/a%0Ab": true, "/a%0D%0Ab": true, "/%1f": true, "/%7F": true, "/a": true,
		"/a%00b": false, "/..%09/%2e%2e/x": false, "/a%5cb": false, "/../x": false,
	} {
		u, err := url.Parse(raw)
		require.NoError(t, err)
		assert.Equal(t, passes, urlpath.CheckRelay(u) == nil, raw)
	}
}
