package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// blameRepeats is how often one client does the same: enough to open a circuit, or to
// eject an endpoint, three times over.
const blameRepeats = 30

// Nothing that a client controls alone opens a circuit, ejects an endpoint or counts as
// its failure; every attempt that began has ended, and a good request of somebody else
// is served afterwards.
func TestBlame(t *testing.T) {
	t.Parallel()
	for _, table := range []struct {
		name string
		all  []clientCase
	}{
		{"malformed", malformedHeads()},
		{"unread", invalidBodies()},
		{"upload", uploads()},
		{"refused", refusals()},
		{"in stream", errorsInStream()},
		{"left", disconnects()},
	} {
		t.Run(table.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range table.all {
				c.run(t)
			}
		})
	}
}

func (c *clientCase) run(t *testing.T) {
	t.Helper()
	for _, proto := range []string{"h1", "h2"} {
		if c.onlyProto != "" && c.onlyProto != proto {
			continue
		}
		for _, retry := range []bool{true, false} {
			variant := proto + map[bool]string{true: " on", false: " off"}[retry]
			t.Run(c.name+"/"+variant, func(t *testing.T) {
				t.Parallel()
				expectNone(t, c.problems(t, proto, retry))
			})
		}
	}
}

// problems does what is wrong again and again, and returns what is wrong with the gateway.
func (c *clientCase) problems(t *testing.T, proto string, retry bool) (problems []string) {
	t.Helper()
	arrived := make(chan struct{}, 4*blameRepeats)
	g := chainSetup{urls: []string{blameUpstream(t, c.upstream, arrived).URL}, retry: retry}.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // two cores with the race detector take long
	defer cancel()
	problems = c.repeat(ctx, g, proto, &upstreamSignal{arrived: arrived, done: ctx.Done()})
	problems = append(problems, g.awaitIdle()...)
	problems = append(problems, g.blamed()...)
	sent := g.calls.started.Load()
	if c.neverSent && sent > 0 {
		problems = append(problems, fmt.Sprintf("%d of them were sent to an upstream", sent))
	}
	if c.noRetry && sent > blameRepeats {
		problems = append(problems, fmt.Sprintf("%d calls for %d requests: repeated although that changes nothing", sent, blameRepeats))
	}
	return append(problems, g.goodRequestProblems(ctx, proto)...)
}

// repeat does it thirty times, and returns each status that is not right, once.
func (c *clientCase) repeat(ctx context.Context, g *chain, proto string, up *upstreamSignal) []string {
	var mu sync.Mutex
	var problems []string
	want := c.statuses
	if c.valid {
		want = []int{200}
	}
	one := func(int) {
		w, err := newWire(ctx, g.addr(), proto)
		said := ""
		if err != nil {
			said = err.Error()
		} else {
			defer func() { _ = w.Close() }()
			if status := c.client(w, up); want != nil && !slices.Contains(want, status) {
				said = fmt.Sprintf("status %d, want one of %v", status, want)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if said != "" && !slices.Contains(problems, said) {
			problems = append(problems, said)
		}
	}
	atOnce := 1
	if c.concurrent {
		atOnce = blameRepeats
	}
	each(blameRepeats, atOnce, one)
	return problems
}
