package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/require"
)

// eventServer responds to every POST with a number of events and [DONE], each flushed. Under
// this load httputil.ReverseProxy cuts streams (golang/go#40747).
func eventServer(t *testing.T, events int) *httptest.Server {
	t.Helper()
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range events {
			_, _ = fmt.Fprintf(w, "data: {\"i\":%d,\"n\":%d}\n\n", i, len(body))
			w.(http.Flusher).Flush()
		}
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
	}))
	return s
}

func TestAThousandConcurrentPostStreamsAreWhole(t *testing.T) {
	const streams, events = 1000, 20
	upstream := eventServer(t, events)
	target, err := url.Parse(upstream.URL)
	require.NoError(t, err)
	transport := newTransport(t, proxy.TransportConfig{})
	p, err := proxy.New(proxy.Config{Transport: transport, Target: target})
	require.NoError(t, err)
	r := gin.New()
	r.Use(gin.Recovery())
	r.POST("/stream", p.Handler())
	gateway := newServer(t, r)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: streams}}
	t.Cleanup(client.CloseIdleConnections)

	for run := range 3 {
		var cut atomic.Int64
		var wg sync.WaitGroup
		for range streams {
			wg.Go(func() {
				res, err := client.Post(gateway.URL+"/stream", "application/json", strings.NewReader(strings.Repeat("x", 2000)))
				if err != nil {
					cut.Add(1)
					return
				}
				defer func() { _ = res.Body.Close() }()
				got, err := io.ReadAll(res.Body)
				if err != nil || bytes.Count(got, []byte("data: ")) != events+1 || !bytes.HasSuffix(got, []byte("data: [DONE]\n\n")) {
					cut.Add(1)
				}
			})
		}
		wg.Wait()
		require.Zero(t, cut.Load(), "run %d", run)
	}
}
