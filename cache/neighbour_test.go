package cache_test

import (
	"io"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/internal/testkit/writers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A response that breaks off behind another middleware's writer is broken for its client and is
// not stored.
func TestNeighbourCutIsNotStored(t *testing.T) {
	t.Parallel()
	for name, hide := range map[string]gin.HandlerFunc{"embedding": writers.Embedding, "unwrapping": writers.Unwrapping, "opaque": writers.Opaque} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := &upstream{handle: func(c *gin.Context) {
				c.Header("Content-Type", "application/json")
				_, _ = c.Writer.WriteString(`{"half":`)
				c.Writer.Flush()
				apierror.Cut(c, nil)
			}}
			r := gin.New()
			r.POST(chatPath, gin.RecoveryWithWriter(io.Discard), hide, newCache(t, cache.Config{}).Middleware(), hide, u.serve)
			s := serve(t, r)
			for range 2 {
				res, err := s.Client().Post(s.URL+chatPath, "application/json", strings.NewReader(chatPlain))
				if err != nil { // broken before the head
					continue
				}
				body, err := io.ReadAll(res.Body)
				require.NoError(t, res.Body.Close())
				require.Error(t, err, "%d %q", res.StatusCode, body)
			}
			assert.EqualValues(t, 2, u.calls.Load(), "it was not stored")
		})
	}
}
