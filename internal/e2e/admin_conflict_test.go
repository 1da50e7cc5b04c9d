package e2e_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readHook calls a function on the first Read.
type readHook struct {
	io.Reader
	first func()
}

func (r *readHook) Read(p []byte) (int, error) {
	if r.first != nil {
		r.first()
		r.first = nil
	}
	return r.Reader.Read(p)
}

// Of two conflicting changes of the configuration the second is refused, even when its body
// arrives slowly.
func TestConflictingConfigChange(t *testing.T) {
	upstream := okUpstream(t)
	config := func(weight int) string { return twoVersions(upstream.URL, upstream.URL, [2]int{weight, 1}) }
	p := start(t, config(1))
	res, err := http.Get(p.private + "/admin/config")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	tag := res.Header.Get("ETag")
	slow := &readHook{strings.NewReader(config(2)), func() { // the gateway has seen the head
		code, text := p.admin(http.MethodPut, "/admin/config", config(3), "Content-Type", "application/json", "If-Match", tag)
		require.Equal(t, http.StatusOK, code, text)
	}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, p.private+"/admin/config", slow)
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("If-Match", tag)
	req.Header.Set("Expect", "100-continue")
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute, DisableKeepAlives: true}}
	res, err = client.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, http.StatusPreconditionFailed, res.StatusCode)
	_, text := p.admin(http.MethodGet, "/admin/config", "")
	assert.Equal(t, config(3), text)
}
