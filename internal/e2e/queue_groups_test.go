package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// job submits a chat request as a job of a group and returns its result.
func (p *process) job(client *http.Client, group, key, model string, header ...string) (int, string) {
	p.t.Helper()
	body := fmt.Sprintf(`{"url":"/v1/chat/completions","body":{"model":%q,"messages":[]}}`, model)
	code, text := 0, ""
	require.Eventually(p.t, func() bool { // the queue's store may still be starting
		code, text = p.sendWithKey(client, http.MethodPost, group+"/jobs", key, body, header...)
		return code != http.StatusServiceUnavailable
	}, patience, 50*time.Millisecond)
	require.Equal(p.t, http.StatusAccepted, code, text)
	var job struct{ ID string }
	require.NoError(p.t, json.Unmarshal([]byte(text), &job))
	return p.sendWithKey(client, http.MethodGet, group+"/jobs/"+job.ID+"/result?wait=20s", key, "", header...)
}

// startTwoQueues runs a gateway with two groups that have the queue; only one of them requires
// the scope gold and denies addresses.
func startTwoQueues(t *testing.T, keys string) *process {
	t.Helper()
	return start(t, fmt.Sprintf(`{%s, "auth": {"keys": %q}, "queue": {"dir": %q}, "trusted_proxies": ["127.0.0.0/8"], "upstreams": {"a": {"endpoints": [{"url": %q}]}},
		"groups": [{"path": "/open", "upstream": "a", "queue": true},
			{"path": "/v1", "upstream": "a", "queue": true, "scopes": ["gold"], "ip": {"deny": ["203.0.113.0/24"]}}]}`, ports, keys, t.TempDir(), echoUpstream(t).URL))
}

// A job has no more rights in another group than its caller. The models of a key are checked
// when the job runs, so that keys for some models can use the queue.
func TestJobHasTheRightsOfItsCaller(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	gold := newKey(t, "-file", file, "-subject", "alice", "-scopes", "gold")
	none := newKey(t, "-file", file, "-subject", "bob")
	some := newKey(t, "-file", file, "-subject", "carl", "-scopes", "gold", "-models", "small-*")
	p := startTwoQueues(t, file)
	client := newClient(t, 1)
	for name, tt := range map[string]struct {
		group, key, model, address string
		code                       int
		text                       string
	}{
		"with the scope":             {"/open", gold, "m", "198.51.100.1", http.StatusOK, "choices"},
		"without the scope":          {"/open", none, "m", "198.51.100.1", http.StatusForbidden, "insufficient_scope"},
		"from an address refused":    {"/open", gold, "m", "203.0.113.1", http.StatusForbidden, "ip_denied"},
		"a model of the key":         {"/v1", some, "small-1", "198.51.100.1", http.StatusOK, "choices"},
		"a model that is not of it":  {"/v1", some, "large", "198.51.100.1", http.StatusForbidden, "model_not_allowed"},
		"and not from another group": {"/open", some, "large", "198.51.100.1", http.StatusForbidden, "model_not_allowed"},
	} {
		code, text := p.job(client, tt.group, tt.key, tt.model, "X-Forwarded-For", tt.address)
		assert.Equal(t, tt.code, code, name)
		assert.Contains(t, text, tt.text, name)
	}
}

// No spelling of a path reaches the files of the provider, which all callers share, instead
// of those of the queue.
func TestProviderFilesAreUnreachable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	key := newKey(t, "-file", file, "-subject", "alice", "-scopes", "gold")
	p := startTwoQueues(t, file)
	client := newClient(t, 1)
	for _, path := range []string{"/v1//files", "//v1/files", "/v1;x/files", "/v1/files;x", "/v1/;/batches", "/v1/%2Ffiles", "/v1/FILES", "/v1/files.", "/v1/batches%20/x", "/v1/%EF%BD%86iles", "/v1/%2566iles"} {
		code, text := p.sendWithKey(client, http.MethodGet, path, key, "")
		assert.Equal(t, http.StatusNotFound, code, path)
		assert.NotContains(t, text, "choices", path)
	}
}
