package cache_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// counting is a server of a model that counts tokens on request, as OpenAI's does.
type counting struct{ calls, requested atomic.Int64 }

const (
	plainChunk     = `data: {"id":"c1","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":"stop"}]}` + "\n\n"
	usageNullChunk = `data: {"id":"c1","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":"stop"}],"usage":null}` + "\n\n"
	countsChunk    = `data: {"id":"c1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}` + "\n\n"
	doneChunk      = "data: [DONE]\n\n"
)

func (u *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	u.calls.Add(1)
	b, _ := io.ReadAll(r.Body)
	text := plainChunk + doneChunk
	if strings.Contains(string(b), "include_usage") {
		u.requested.Add(1)
		text = usageNullChunk + countsChunk + doneChunk
	}
	h := http.Header{"Content-Type": {"text/event-stream"}}
	return &http.Response{StatusCode: http.StatusOK, Header: h, ContentLength: -1, Body: io.NopCloser(strings.NewReader(text))}, nil
}

// A stream is stored with its usage, whether or not the first client requested it. Each
// client gets the usage only if it requested it.
func TestUsageIsStoredAndStrippedPerClient(t *testing.T) {
	t.Parallel()
	const with, without = usageNullChunk + countsChunk + doneChunk, plainChunk + doneChunk
	for name, order := range map[string][]string{
		"first without usage": {chatStream, usageStream, chatStream},
		"first with usage":    {usageStream, chatStream, usageStream},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := new(counting)
			used := 0
			meter, err := stream.NewMeter(stream.MeterConfig{OnUsage: func(_ context.Context, one stream.Usage) {
				assert.EqualValues(t, 9, one.Input)
				assert.False(t, one.Estimated)
				used++
			}})
			require.NoError(t, err)
			transport := meter.Transport(u)
			r := app(newCache(t, cache.Config{}), func(c *gin.Context) {
				out := c.Request.Clone(c.Request.Context())
				res, err := transport.RoundTrip(out)
				if err != nil {
					c.Status(http.StatusBadGateway)
					return
				}
				defer func() { _ = res.Body.Close() }()
				c.Header("Content-Type", res.Header.Get("Content-Type"))
				c.Status(res.StatusCode)
				_, _ = io.Copy(c.Writer, res.Body)
			})
			for _, body := range order {
				want := without
				if body == usageStream {
					want = with
				}
				assert.Equal(t, want, post(r, body).Body.String())
			}
			assert.EqualValues(t, 1, u.calls.Load())
			assert.EqualValues(t, 1, u.requested.Load())
			assert.Equal(t, 1, used)
		})
	}
}
