package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every response has its line in the log, also those that ended just before SIGTERM took effect,
// with lines in batches and with each at once.
func TestLogIsWholeAfterSIGTERM(t *testing.T) {
	t.Parallel()
	for name, log := range map[string]string{"in batches": `{}`, "each at once": `{"sync": true}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upstream := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) }))
			p := start(t, fmt.Sprintf(`{%s, "log": %s, "upstreams": {"a": {"endpoints": [{"url": %q}]}}, "groups": [{"path": "/v1", "upstream": "a"}]}`, ports, log, upstream.URL))
			done := p.untilTheEnd(500)
			require.Equal(t, 0, p.wait())
			lines := strings.Count(p.stderr.String(), `"msg":"request"`)
			assert.GreaterOrEqual(t, int64(lines), done)
			assert.LessOrEqual(t, int64(lines), done+8, "but those cut by the end of the port")
		})
	}
}

// untilTheEnd sends requests over eight connections, and SIGTERM after some of them. It returns how
// many had a response.
func (p *process) untilTheEnd(some int64) int64 {
	p.t.Helper()
	var done atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for client := newClient(p.t, 1); p.responds(client); {
				if done.Add(1) == some {
					p.signal(syscall.SIGTERM)
				}
			}
		})
	}
	clients.Wait()
	return done.Load()
}

func (p *process) responds(client *http.Client) bool {
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.public+"/v1/models", http.NoBody)
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	return res.Body.Close() == nil
}

// A log that is never read costs lines, which are counted, and no request.
func TestLogThatNobodyReadsBlocksNoRequest(t *testing.T) {
	t.Parallel()
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = reader.Close(); _ = writer.Close() })
	upstream := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) }))
	p := startLogging(t, writer, fmt.Sprintf(`{%s, "upstreams": {"a": {"endpoints": [{"url": %q}]}}, "groups": [{"path": "/v1", "upstream": "a"}]}`, ports, upstream.URL))
	client := newClient(t, 1)
	for range 1000 { // a pipe holds 64 KiB, about 150 lines
		res, _ := p.send(client, http.MethodGet, p.public+"/v1/models", "", "Authorization", "Bearer "+p.token)
		require.Equal(t, http.StatusOK, res.StatusCode)
	}
}
