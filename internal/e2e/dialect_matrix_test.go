package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/internal/testkit/faulty"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
)

// The chains that responses pass. The plain one does not prefetch; those from cache on have a
// token limit, too.
const (
	chainPlain    = "plain"
	chainHold     = "hold"
	chainCache    = "cache"
	chainLimits   = "limits"
	chainFallback = "fallback"
)

// dialectRepeats is the number of requests of a cell: more than it takes to open a circuit.
const dialectRepeats = 12

// dialectCell is one response through one chain.
type dialectCell struct {
	*dialect
	*dialectShape

	end, chain string
}

func (c *dialectCell) String() string {
	shape := ""
	if c.dialectShape != &c.shapes[0] {
		shape = " (" + c.dialectShape.name + ")"
	}
	return c.dialect.name + shape + "/" + c.end + "/" + c.chain
}

// dialectCells returns the cells of a dialect. Its first shape has every end in every chain,
// the others only the ends in which they differ.
func dialectCells(t *testing.T, d *dialect) (cells []*dialectCell) {
	t.Helper()
	for i := range d.shapes {
		s := &d.shapes[i]
		ends, chains := dialectEnds(), []string{chainPlain, chainHold, chainCache, chainLimits, chainFallback}
		if i > 0 {
			ends, chains = []string{endProper, endNoMarker, endCleanAfter}, []string{chainPlain, chainLimits}
		}
		for _, end := range ends {
			_, plays := d.play(s, end)
			reason := excludedReason(d.name, end)
			switch {
			case i == 0 && plays == (reason != ""):
				t.Errorf("%s/%s: has a script: %v; excluded because: %q", d.name, end, plays, reason)
			case plays && reason == "":
				for _, chain := range chains {
					cells = append(cells, &dialectCell{d, s, end, chain})
				}
			}
		}
	}
	return cells
}

// TestDialectMatrix runs every dialect with every end through every chain. facts and want
// have the expectations; knownFailures lists the cells that fail.
func TestDialectMatrix(t *testing.T) {
	t.Parallel()
	all := dialects()
	for i := range all {
		t.Run(all[i].name, func(t *testing.T) {
			t.Parallel()
			lines := newDialectLines(t)
			for _, c := range dialectCells(t, &all[i]) {
				name := strings.TrimPrefix(c.String(), c.dialect.name)
				t.Run(strings.TrimPrefix(name, "/"), func(t *testing.T) {
					v := new(findings)
					c.run(t, v, lines)
					expectNone(t, v.problems)
				})
			}
		})
	}
}

func (c *dialectCell) setup() dialectSetup {
	s := dialectSetup{limits: true}
	switch c.chain {
	case chainPlain:
		s.limits, s.timeouts.Hold = false, -1
	case chainHold:
		s.limits, s.timeouts.Hold = false, 2*time.Second
	case chainCache:
		s.cache = true
	case chainFallback:
		s.table, s.keys = dialectFallback(), map[string]string{"a": "sk-first", "b": "sk-second"}
	}
	return s
}

func (c *dialectCell) run(t *testing.T, v *findings, lines *dialectLines) {
	t.Helper()
	sent, _ := c.play(c.dialectShape, c.end)
	good, _ := c.play(c.dialectShape, endProper)
	first, second := faulty.InTurn(sent.steps), faulty.InTurn(good.steps)
	setup := c.setup()
	setup.dialectLines, setup.urls = lines, twoUpstreams(t, first, second)
	g := setup.start(t)
	w := c.want()

	got := g.send(t, c.dialectRequest)
	calls := len(first.Calls())
	w.checkResponse(v, c, got, sent)
	assert.Contains(v, w.outcomes, got.outcome, "outcome in the log")
	if end := g.ended(); assert.NotNil(v, end, "the proxy reported the end") {
		assert.Equal(v, got.outcome, end.Outcome.String(), "outcome of the exchange")
	}
	assert.Contains(v, w.calls, fmt.Sprint(calls, len(second.Calls())), "calls of both upstreams")
	if setup.limits {
		w.checkTokens(v, g.charged())
	}
	for i := range dialectRepeats - 1 {
		again := g.send(t, c.dialectRequest)
		if i == 0 && c.chain == chainCache {
			c.checkCached(v, got, calls, len(first.Calls()))
		}
		if w.state == breaker.Closed {
			assert.Equal(v, [2]any{got.status, got.body}, [2]any{again.status, again.body}, "repetition %d", i+1)
			assert.Equal(v, got.err == nil, again.err == nil, "repetition %d", i+1)
		}
	}
	if w.state == breaker.Open { // hystrix counts with a delay
		assert.Eventually(v, func() bool {
			g.send(t, c.dialectRequest)
			return g.state("a") == breaker.Open
		}, 5*time.Second, 10*time.Millisecond, "circuit after %d requests", dialectRepeats)
	}
	assert.Equal(v, w.state, g.state("a"), "circuit after %d requests", dialectRepeats)
	assert.Equal(v, breaker.Closed, g.state("b"), "circuit of the second upstream")
	assert.Empty(t, g.inFlight())
}

// ended returns the event of the end of the first exchange.
func (g *dialectGateway) ended() *proxy.Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.finished) == 0 {
		return nil
	}
	return &g.finished[0]
}

// checkCached checks that whole responses are cached, and no others.
func (c *dialectCell) checkCached(v *findings, got dialectResponse, before, after int) {
	whole := got.status == 200 && got.err == nil && (c.end == endProper || c.end == endNoMarker)
	switch {
	case whole && c.cached:
		assert.Equal(v, before, after, "it is served from the cache")
	case !whole:
		assert.Greater(v, after, before, "it is not served from the cache")
	}
}

// The kinds of responses that a client can get.
const (
	responseUnchanged = "unchanged" // the upstream's response
	responseBroken    = "broken"    // its beginning, visibly broken
	responseRefused   = "refused"   // our own error
	responseOther     = "other"     // the second upstream's response
)

// dialectWant has the expectations of a cell. Of several alternatives any is right.
type dialectWant struct {
	responses, outcomes, calls []string
	state                      breaker.State
	charged                    [2]int64 // from, to
	usage                      []int64  // the sums that may be charged; nil: any within charged
}

func (c *dialectCell) want() (w dialectWant) {
	f := c.facts(c.end)
	replaces := f.beforeContent && (f.knownFromHead || c.chain != chainPlain)
	elsewhere := c.chain == chainFallback && replaces && f.retryOther
	if f.blame == blameEndpoint {
		w.state = breaker.Open
	}
	if elsewhere {
		c.wantOther(&w)
		if !f.retryOptional || f.blame != "" {
			return w
		}
	}
	w.outcomes = append(w.outcomes, f.outcomes()...)
	w.calls = append(w.calls, f.calls(replaces)...)
	w.responses = append(w.responses, f.replies(replaces)...)
	c.wantTokens(&w, f, elsewhere)
	return w
}

// wantOther expects the second upstream's response.
func (c *dialectCell) wantOther(w *dialectWant) {
	w.responses, w.outcomes, w.calls = []string{responseOther}, []string{"success"}, []string{"1 1"}
	w.charged, w.usage = [2]int64{1, c.bound()}, c.usage
	if c.end == endNoMarker && strings.Contains(c.marker, "usage") { // the usage is missing
		w.usage = nil
	}
	if c.end == endCutAfter || c.end == endCleanAfter { // the first model wrote tokens, too
		w.charged, w.usage = [2]int64{1, 2*c.bound() + slices.Max(append([]int64{0}, w.usage...))}, nil
	}
}

func (f dialectFacts) outcomes() []string {
	switch {
	case f.blame == blameEndpoint:
		return []string{"failure"}
	case f.anyOutcome:
		return []string{"success", "failure"}
	}
	return []string{"success"}
}

func (f dialectFacts) calls(replaces bool) []string {
	switch {
	case f.retrySame && replaces && !f.retryOptional:
		return []string{"2 0"}
	case f.retrySame && f.beforeContent: // optional: an empty head is visible without prefetch
		return []string{"1 0", "2 0"}
	}
	return []string{"1 0"}
}

func (f dialectFacts) replies(replaces bool) []string {
	switch {
	case f.blame == "" || f.passThrough:
		return []string{responseUnchanged}
	case replaces:
		return []string{responseRefused}
	case f.beforeContent:
		return []string{responseBroken, responseRefused}
	}
	return []string{responseBroken}
}

func (c *dialectCell) wantTokens(w *dialectWant, f dialectFacts, elsewhere bool) {
	whole := c.end == endProper || c.end == endNoMarker
	switch {
	case whole:
		w.charged, w.usage = [2]int64{1, c.bound()}, c.usage
	case elsewhere: // or nothing
		w.charged[0], w.usage = 0, append([]int64{0}, w.usage...)
	case f.beforeContent && c.end == endCutAfter, f.beforeContent && c.end == endCleanAfter: // the model wrote, the client has nothing
		w.charged = [2]int64{0, c.bound()}
	case f.beforeContent: // nothing was delivered
		w.charged = [2]int64{0, 0}
	default:
		w.charged = [2]int64{1, c.bound()}
	}
}

func (w *dialectWant) checkTokens(v *findings, charged int64) {
	if len(w.usage) > 0 && (len(w.usage) > 1 || w.usage[0] != 0) {
		assert.Contains(v, w.usage, charged, "tokens charged")
		return
	}
	assert.GreaterOrEqual(v, charged, w.charged[0], "tokens charged")
	assert.LessOrEqual(v, charged, w.charged[1], "tokens charged")
}

func (w *dialectWant) checkResponse(v *findings, c *dialectCell, got dialectResponse, sent script) {
	var why []string
	for _, reply := range w.responses {
		fault := c.isResponse(reply, got, sent)
		if fault == "" {
			return
		}
		why = append(why, reply+": "+fault)
	}
	v.Errorf("reply: %s; got %d, %v, %.2000q", strings.Join(why, "; "), got.status, got.err, got.body)
}

// isResponse returns why the response is not of that kind; "": it is.
func (c *dialectCell) isResponse(kind string, got dialectResponse, sent script) string {
	switch kind {
	case responseUnchanged:
		return isWhole(got, sent.line[:3], sent.body)
	case responseOther:
		return isWhole(got, "200", c.whole())
	case responseRefused:
		switch {
		case got.status < 500 || got.err != nil:
			return "it is no error"
		case !strings.Contains(got.body, `"error"`) || sent.body != "" && strings.Contains(got.body, sent.body):
			return "the error is not our own"
		}
	case responseBroken:
		rest, ok := strings.CutPrefix(got.body, sent.body)
		switch {
		case got.err == nil:
			return "it ends as if it were whole"
		case !ok:
			return "it does not begin with what was sent"
		case rest != "" && !c.isErrorText(rest):
			return "what was added is no error of its form"
		}
	}
	return ""
}

func isWhole(got dialectResponse, status, body string) string {
	switch {
	case got.err != nil:
		return "it broke"
	case strconv.Itoa(got.status) != status:
		return "the status is another"
	case got.body != body:
		return "the body is another"
	}
	return ""
}

// isErrorText reports whether a text may be appended to a broken response.
func (c *dialectCell) isErrorText(text string) bool {
	switch c.form {
	case formEvents:
		return strings.HasSuffix(text, "\n\n") && strings.Contains(text, "error") && strings.Count(text, "\n\n") == 1
	case formLines:
		return strings.HasSuffix(text, "\n") && strings.Contains(text, "error") && json.Valid([]byte(text))
	case formDocument, formBinary:
	}
	return false
}
