package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// blameRepeats is the number of requests of a case: three times what opens a circuit or
// ejects an endpoint.
const blameRepeats = 30

// Nothing that a client controls alone opens a circuit, ejects an endpoint or counts as its
// failure. Every attempt that began ends, and a good request of another caller succeeds
// afterwards.
func TestBlame(t *testing.T) {
	t.Parallel()
	for _, table := range []struct {
		name string
		all  []clientCase
	}{
		{"malformed head", malformedHeads()},
		{"invalid body", invalidBodies()},
		{"upload", uploads()},
		{"refused", refusals()},
		{"in stream", errorsInStream()},
		{"disconnect", disconnects()},
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

// problems repeats the case and returns what the gateway did wrong.
func (c *clientCase) problems(t *testing.T, proto string, retry bool) (problems []string) {
	t.Helper()
	arrived := make(chan struct{}, 4*blameRepeats)
	g := chainSetup{urls: []string{blameUpstream(t, c.upstream, arrived).URL}, retry: retry}.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // the race detector on two cores is slow
	defer cancel()
	problems = c.repeat(ctx, g, proto, &upstreamSignal{arrived: arrived, done: ctx.Done()})
	problems = append(problems, g.awaitIdle()...)
	problems = append(problems, g.blamed()...)
	sent := g.calls.started.Load()
	if c.neverSent && sent > 0 {
		problems = append(problems, fmt.Sprintf("%d of them were sent to an upstream", sent))
	}
	if c.noRetry && sent > blameRepeats {
		problems = append(problems, fmt.Sprintf("%d calls for %d requests: repeated although a retry can't help", sent, blameRepeats))
	}
	return append(problems, g.goodRequestProblems(ctx, proto)...)
}

// repeat runs the client blameRepeats times, and returns each unexpected status once.
func (c *clientCase) repeat(ctx context.Context, g *chain, proto string, up *upstreamSignal) []string {
	var mu sync.Mutex
	var problems []string
	want := c.statuses
	if c.valid {
		want = []int{200}
	}
	one := func(int) {
		w, err := newWire(ctx, g.addr(), proto)
		problem := ""
		if err != nil {
			problem = err.Error()
		} else {
			defer func() { _ = w.Close() }()
			if status := c.client(w, up); want != nil && !slices.Contains(want, status) {
				problem = fmt.Sprintf("status %d, want one of %v", status, want)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if problem != "" && !slices.Contains(problems, problem) {
			problems = append(problems, problem)
		}
	}
	atOnce := 1
	if c.concurrent {
		atOnce = blameRepeats
	}
	each(blameRepeats, atOnce, one)
	return problems
}
