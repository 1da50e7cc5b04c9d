package e2e_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A mirror receives a marked copy of each request while clients get the responses of the
// other version; shutdown waits for the copies.
func TestMirrorOfTheGateway(t *testing.T) {
	old, shadow := newThreeTokenModel(t), newThreeTokenModel(t)
	shadow.pause.Store(int64(300 * time.Millisecond))
	var marked atomic.Int64
	shadow.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Shadow") == "1" {
			marked.Add(1)
		}
		shadow.ServeHTTP(w, r)
	})
	p := start(t, fmt.Sprintf(`{%s,
		"upstreams": {"old": {"endpoints": [{"url": %q}]}, "new": {"endpoints": [{"url": %q}]}},
		"groups": [{"path": "/v1", "stages": ["routing", "stream"], "routing": {
			"mirror": {"concurrent": 64},
			"table": {"routes": [{"model": "chat/large", "version": "old", "mirror": {"version": "new"}}]}}}]}`, ports, old.URL, shadow.URL))
	for _, version := range p.sendAsUsers(0, 20) {
		require.Equal(t, "old", version)
	}
	p.signal(syscall.SIGTERM)
	require.Zero(t, p.wait())
	require.EqualValues(t, 20, old.calls.Load())
	require.EqualValues(t, 20, marked.Load())
	require.EqualValues(t, 20, shadow.calls.Load())
}
