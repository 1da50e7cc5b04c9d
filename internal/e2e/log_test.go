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
			var done atomic.Int64
			var clients sync.WaitGroup
			for range 8 {
				clients.Go(func() {
					client := newClient(t, 1)
					for {
						req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.public+"/v1/models", http.NoBody)
						if !assert.NoError(t, err) {
							return
						}
						req.Header.Set("Authorization", "Bearer "+p.token)
						res, err := client.Do(req)
						if err != nil {
							return
						}
						_ = res.Body.Close()
						if done.Add(1) == 500 {
							p.signal(syscall.SIGTERM)
						}
					}
				})
			}
			clients.Wait()
			require.Equal(t, 0, p.wait())
			lines := strings.Count(p.stderr.String(), `"msg":"request"`)
			assert.GreaterOrEqual(t, int64(lines), done.Load())
			assert.LessOrEqual(t, int64(lines), done.Load()+8, "but those cut by the end of the port")
		})
	}
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
