package breaker_test

import (
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/internal/testkit/writers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A failure that is cut behind another middleware's writer is replaced by the fallback, whole, also
// over HTTP/1.0, where a cut resets the connection.
func TestNeighbourFallbackReplacesCut(t *testing.T) {
	t.Parallel()
	for name, hide := range map[string]gin.HandlerFunc{"embedding": writers.Embedding, "unwrapping": writers.Unwrapping, "opaque": writers.Opaque} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _ := group(t, own)
			e := gin.New()
			e.GET("/", g.Middleware(breaker.MiddlewareConfig{Fallback: func(c *gin.Context) { c.String(200, "instead") }}), hide, func(c *gin.Context) {
				c.Status(502)
				_, _ = c.Writer.WriteString("x")
				apierror.Cut(c, errors.New("x"))
			})
			s := httptest.NewServer(e)
			defer s.Close()
			for _, protocol := range []string{"HTTP/1.0", "HTTP/1.1"} {
				conn, err := net.Dial("tcp", s.Listener.Addr().String())
				require.NoError(t, err)
				_, err = io.WriteString(conn, "GET / "+protocol+"\r\nHost: x\r\nConnection: close\r\n\r\n")
				require.NoError(t, err)
				text, err := io.ReadAll(conn)
				require.NoError(t, err)
				require.NoError(t, conn.Close())
				assert.Contains(t, string(text), "instead", protocol)
			}
		})
	}
}
