package e2e_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/internal/testkit/faulty"
	"github.com/ginfer/ginfer/proxy"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// toxic is a fault of the network between a server and the gateway.
type toxic struct {
	Type       string         `json:"type"`
	Attributes map[string]any `json:"attributes"`
}

// toxicProxy returns the URL of a toxiproxy in front of a server, without toxiproxy's API.
func toxicProxy(t *testing.T, addr string, toxics ...toxic) string {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(server, t.Name(), "127.0.0.1:0", addr)
	require.NoError(t, p.Start())
	t.Cleanup(p.Stop)
	for _, toxic := range toxics {
		b, err := json.Marshal(toxic)
		require.NoError(t, err)
		_, err = p.Toxics.AddToxicJson(bytes.NewReader(b))
		require.NoError(t, err)
	}
	return "http://" + p.Listen
}

// Endpoint a is healthy, but the network in front of it is not.
func TestFaultsOfTheNetwork(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		toxics []toxic
		well   bool // slow, but not a failure
	}{
		"reset at once":         {toxics: []toxic{{"reset_peer", map[string]any{"timeout": 0}}}},
		"reset later":           {toxics: []toxic{{"reset_peer", map[string]any{"timeout": 100}}}},
		"a black hole":          {toxics: []toxic{{"timeout", map[string]any{"timeout": 0}}}},
		"a hole that closes":    {toxics: []toxic{{"timeout", map[string]any{"timeout": 100}}}},
		"a cut within headers":  {toxics: []toxic{{"limit_data", map[string]any{"bytes": 30}}}},
		"a cut within the body": {toxics: []toxic{{"limit_data", map[string]any{"bytes": 100}}}},
		"too late":              {toxics: []toxic{{"latency", map[string]any{"latency": 1600}}}},
		"late":                  {toxics: []toxic{{"latency", map[string]any{"latency": 150, "jitter": 50}}}, well: true},
		"sliced":                {toxics: []toxic{{"slicer", map[string]any{"average_size": 6, "size_variation": 3, "delay": 2000}}}, well: true},
		"closed late":           {toxics: []toxic{{"slow_close", map[string]any{"delay": 500}}}, well: true},
		"narrow, late and sliced": {toxics: []toxic{
			{"bandwidth", map[string]any{"rate": 2}}, {"latency", map[string]any{"latency": 100}}, {"slicer", map[string]any{"average_size": 20, "size_variation": 10, "delay": 1000}},
		}, well: true},
	} {
		for _, form := range []string{"JSON", "SSE"} {
			t.Run(name+"/"+form, func(t *testing.T) {
				t.Parallel()
				testNetwork(t, form == "SSE", c.well, c.toxics)
			})
		}
	}
}

func testNetwork(t *testing.T, sse, well bool, toxics []toxic) {
	t.Helper()
	response, want := faulty.Plain("200 OK", "Content-Type: application/json\r\n", goodJSON), goodJSON
	if sse {
		// In one piece: toxiproxy leaks a goroutine that has more to forward.
		response = faulty.Response{faulty.Say(faulty.Head("text/event-stream") + faulty.Chunk(roleEvent) + faulty.Chunk(goodStream[len(roleEvent):]) + faulty.Chunk(""))}
		want = goodStream
	}
	urls := threeServers(t, faulty.InTurn(response))
	urls[0] = toxicProxy(t, strings.TrimPrefix(urls[0], "http://"), toxics...)
	limit := 3 * time.Second
	if !well {
		limit = time.Second
	}
	g := faultSetup{urls: urls, settings: strict, timeouts: proxy.Timeouts{FirstByte: limit, Idle: limit}}.start(t)
	got, err := g.send(t.Context(), sse)
	require.NoError(t, err)
	g.awaitIdle(t, 1)
	assert.Equal(t, 200, got.status)
	require.NoError(t, got.err)
	assert.Equal(t, want, got.body)
	attempts, finished := g.finished()
	assert.Equal(t, proxy.Success, finished[0].Outcome)
	assert.Equal(t, well, g.circuit(0).State == breaker.Closed)
	if well {
		assert.Len(t, attempts, 1)
		return
	}
	require.Len(t, attempts, 2)
	assert.Equal(t, proxy.Failure, attempts[0].Outcome)
	assert.Equal(t, "b", finished[0].Endpoint)
	assert.EqualValues(t, 1, g.pool.Status()[0].Failures)
}
