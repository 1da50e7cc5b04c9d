package cache_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/require"
)

// slowWriter takes its time for the first write of a body.
type slowWriter struct {
	*httptest.ResponseRecorder
	delay time.Duration
}

func (w *slowWriter) Write(p []byte) (int, error) {
	time.Sleep(w.delay)
	w.delay = 0
	return w.ResponseRecorder.Write(p)
}

func (w *slowWriter) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// A client that falls behind is dropped in the middle of the stream, whether it leads or
// follows, and that is an event. The other client gets all of it, and it is stored.
func TestDroppedClients(t *testing.T) {
	t.Parallel()
	for name, slowLeads := range map[string]bool{"the leader": true, "a follower": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &log{}
				all := events(strings.Repeat("a", 600), strings.Repeat("b", 600), strings.Repeat("c", 600))
				u := &upstream{handle: func(c *gin.Context) {
					c.Header("Content-Type", "text/event-stream")
					for _, e := range all {
						time.Sleep(100 * time.Millisecond)
						_, _ = c.Writer.WriteString(e)
						c.Writer.Flush()
					}
				}}
				r := app(newCache(t, cache.Config{MaxLag: 1000, OnEvent: l.On}), u.serve)
				slow := &slowWriter{httptest.NewRecorder(), 10 * time.Second}
				fast := httptest.NewRecorder()
				writers := []http.ResponseWriter{fast, slow}
				if slowLeads {
					writers = []http.ResponseWriter{slow, fast}
				}
				var wg sync.WaitGroup
				for _, w := range writers {
					wg.Go(func() {
						defer func() { _ = recover() }() // the connection of a dropped client is aborted
						r.ServeHTTP(w, request(http.MethodPost, chatPath, chatStream))
					})
					time.Sleep(50 * time.Millisecond)
				}
				wg.Wait()
				require.Equal(t, strings.Join(all, ""), fast.Body.String())
				require.Less(t, slow.Body.Len(), fast.Body.Len())
				require.Len(t, l.of(cache.Dropped), 1)
				require.Len(t, l.of(cache.Stored), 1)
				require.EqualValues(t, 1, u.calls.Load())
				require.True(t, isHit(r, chatStream))
			})
		})
	}
}
