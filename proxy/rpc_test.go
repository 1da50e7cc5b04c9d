package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
)

// Tool calls (MCP) are JSON-RPC over POST: their streams may have only heartbeats for many
// minutes, and their clients wait to see them open.
func TestRemoteCallsAreNotHeld(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"one":     `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`,
		"several": ` [{"jsonrpc":"2.0","id":1,"method":"tools/call"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var pieces []piece
				for range 10 {
					pieces = append(pieces, piece{30 * time.Second, ping})
				}
				pieces = append(pieces, text("data: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32601,\"message\":\"no\"}}\n\n"))
				ev := newEvents()
				p := newProxy(t, proxy.Config{Transport: streams(io.EOF, pieces...), OnEvent: ev.on})
				start := time.Now()
				w := serve(p, request(t, http.MethodPost, strings.NewReader(body)))
				assert.Equal(t, 200, w.Code)
				assert.Contains(t, w.Body.String(), "-32601")
				assert.Equal(t, 5*time.Minute, time.Since(start))
				assert.Less(t, ev.next(t).FirstByte, time.Second, "its head was not delayed")
			})
		})
	}
}
