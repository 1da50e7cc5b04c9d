package e2e_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/internal/testkit/faulty"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cell is a fault in one of its forms, in the first attempt or in every one.
type cell struct {
	fault

	name        string
	sse, always bool
	plan        *faulty.Plan
	gateway     *faultGateway
	got         faultResponse
	err         error
}

// cells returns the cells of a fault.
func (f fault) cells() (all []*cell) {
	for form, sse := range map[string]bool{"JSON": false, "SSE": true} {
		all = append(all, &cell{fault: f, name: form + ", first", sse: sse})
		if !f.afterContent && !f.succeeds { // else there is one attempt
			all = append(all, &cell{fault: f, name: form + ", always", sse: sse, always: true})
		}
	}
	return all
}

// TestFaults runs every fault, in a stream and in JSON, in the first attempt and in every one.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var wg sync.WaitGroup // they wait most of the time
			cells := f.cells()
			for _, c := range cells {
				c.start(t)
				wg.Go(func() { c.got, c.err = c.gateway.send(t.Context(), c.sse) })
			}
			wg.Wait()
			for _, c := range cells {
				t.Run(c.name, c.check)
			}
		})
	}
}

func (c *cell) start(t *testing.T) {
	t.Helper()
	bad, good := c.json, faulty.Plain("200 OK", "Content-Type: application/json\r\n", goodJSON)
	if c.sse {
		bad, good = c.stream, faulty.Chunked("text/event-stream", roleEvent, strings.Repeat(tokenEvent, 3), "data: [DONE]\n\n")
	}
	c.plan = faulty.InTurn(bad, good)
	switch {
	case c.always:
		c.plan = faulty.InTurn(bad)
	case c.refusesConnection:
		c.plan = faulty.InTurn(good)
	}
	urls := threeServers(t, c.plan)
	for i := range urls {
		if c.refusesConnection && (i == 0 || c.always) {
			urls[i] = faulty.Refusing(t)
		}
	}
	limit := time.Second
	if c.always && c.status == 504 { // no attempt succeeds
		limit = 400 * time.Millisecond
	}
	c.gateway = faultSetup{urls: urls, timeouts: proxy.Timeouts{FirstByte: limit, Idle: limit}, settings: strict}.start(t)
}

func (c *cell) check(t *testing.T) {
	require.NoError(t, c.err)
	c.gateway.awaitIdle(t, 1)
	c.checkClient(t, c.got)
	assert.Equal(t, c.calls(), c.plan.Calls())
	c.checkEvents(t, c.gateway)
	c.checkEndpoints(t, c.gateway)
}

// attempts returns the number of attempts and how many of them meet the fault.
func (c *cell) attempts() (attempts, fails int) {
	switch {
	case c.succeeds:
		return 1, 0
	case c.afterContent:
		return 1, 1
	case c.always:
		return 3, 3
	}
	return 2, 1
}

// calls returns the servers that receive a request.
func (c *cell) calls() []string {
	attempts, fails := c.attempts()
	all := []string{"a", "b", "c"}[:attempts]
	if !c.refusesConnection {
		return all
	}
	return append([]string(nil), all[fails:]...)
}

func (c *cell) checkClient(t *testing.T, got faultResponse) {
	t.Helper()
	attempts, fails := c.attempts()
	switch {
	case c.afterContent:
		c.checkBegun(t, got)
	case attempts > fails:
		assert.Equal(t, 200, got.status)
		require.NoError(t, got.err)
		want := goodJSON
		if c.sse {
			want = goodStream
		}
		assert.Equal(t, want, got.body, "one whole response")
	default:
		assert.Equal(t, c.status, got.status)
		require.NoError(t, got.err)
		assert.NotContains(t, got.body, "[DONE]")
		if c.status != 200 { // an error within a stream keeps the stream's own type
			assert.Contains(t, got.header.Get("Content-Type"), "json")
		}
		assert.Contains(t, got.body, `"error"`)
		assert.Equal(t, c.passThrough, strings.Contains(got.body, "BAD"))
		assert.Equal(t, c.passThrough && c.coolsDown, got.header.Get("Retry-After") != "")
	}
	if !c.passThrough && !c.afterContent {
		assert.NotContains(t, got.body, "BAD", "nothing of a failed attempt is visible")
	}
	if !c.passThrough && !c.afterContent && !c.succeeds {
		assert.Empty(t, got.header.Get("X-Bad"))
	}
}

// checkBegun checks that the response is visibly broken.
func (c *cell) checkBegun(t *testing.T, got faultResponse) {
	t.Helper()
	assert.Equal(t, 200, got.status)
	require.Error(t, got.err, "cut")
	if !c.sse {
		assert.True(t, strings.HasPrefix(longJSON, got.body[:min(len(got.body), 1000)]))
		return
	}
	assert.True(t, strings.HasPrefix(got.body, roleEvent+tokenEvent), got.body)
	assert.NotContains(t, got.body, "[DONE]")
	assert.NotContains(t, got.body, "BAD")
	assert.Equal(t, c.errorEvent, strings.Contains(got.body, `"error"`), got.body)
}

func (c *cell) checkEvents(t *testing.T, g *faultGateway) {
	t.Helper()
	attempts, fails := c.attempts()
	ended, finished := g.finished()
	require.Len(t, ended, attempts)
	for i, e := range ended {
		want := proxy.Success
		if i < fails && !c.notEndpointFailure {
			want = proxy.Failure
			require.Error(t, e.Err)
		}
		assert.Equal(t, want, e.Outcome, "attempt %d", i+1)
		assert.Equal(t, i+1, e.Attempt)
		assert.Equal(t, string(rune('a'+i)), e.Endpoint)
	}
	end, last := finished[0], ended[attempts-1]
	assert.Equal(t, last.Outcome, end.Outcome)
	assert.Equal(t, attempts, end.Attempt)
	assert.Equal(t, last.Endpoint, end.Endpoint)
}

// checkEndpoints checks that breaker and pool count each exchange once, with one outcome.
func (c *cell) checkEndpoints(t *testing.T, g *faultGateway) {
	t.Helper()
	attempts, fails := c.attempts()
	for i, s := range g.pool.Status() {
		circuit := g.circuit(i)
		if i >= attempts {
			assert.Nil(t, circuit)
			assert.Zero(t, s.Requests)
			continue
		}
		require.NotNil(t, circuit)
		failed := i < fails && !c.notEndpointFailure
		assert.Equal(t, failed, circuit.State == breaker.Open, "circuit of %s", s.Name)
		assert.Zero(t, circuit.CoolingUntil, "a cooldown of %s is the pool's", s.Name)
		assert.Equal(t, c.coolsDown && i < fails, !s.CoolingUntil.IsZero())
		assert.EqualValues(t, 1, s.Requests)
		assert.Equal(t, failed, s.Failures == 1, "failures of %s: %d", s.Name, s.Failures)
	}
}
