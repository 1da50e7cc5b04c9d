package e2e_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// limitHeld bounds the buffered bytes of all request bodies in a chain. One caller, or all
// unauthenticated ones together, may use a quarter.
func limitHeld(s chainSetup, budget int64) chainSetup {
	s.maxBody, s.held = 32<<20, proxy.BodiesConfig{Limit: 32 << 20, Budget: budget}
	return s
}

// A caller with many slow uploads gets a quarter of the buffer budget and then 503 with
// Retry-After, at once; others are served meanwhile.
func TestTenantsHeldBytes(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"h1", "h2"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			expectNone(t, heldBytes(t, proto))
		})
	}
}

func heldBytes(t *testing.T, proto string) (problems []string) {
	t.Helper()
	const budget, part, uploads = 1 << 20, 40 << 10, 32 // one caller may hold six parts
	g := limitHeld(chainSetup{urls: []string{blameUpstream(t, nil, nil).URL}}, budget).start(t)
	var held []*wire
	for range uploads {
		w, err := newWire(t.Context(), g.addr(), proto)
		require.NoError(t, err)
		w.writeHead(rawRequest{path: "/raw/files", caller: "hostile", length: 32 << 20}, false)
		w.writeBody(strings.Repeat("a", part), false)
		held = append(held, w)
	}
	refused := 0
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, w := range held {
		wg.Go(func() {
			_ = w.SetReadDeadline(time.Now().Add(4 * time.Second))
			status := w.statusCode()
			mu.Lock()
			defer mu.Unlock()
			if status == http.StatusServiceUnavailable {
				refused++
			}
		})
	}
	wg.Wait()
	if most := budget / 4 / part; refused < uploads-most {
		problems = append(problems, fmt.Sprintf("%d of %d uploads were refused, room is for %d", refused, uploads, most))
	}
	problems = append(problems, g.goodRequestProblems(t.Context(), proto)...)
	for _, w := range held {
		w.abort()
	}
	problems = append(problems, g.awaitIdle()...)
	return append(problems, g.blamed()...)
}

// Slow uploads, large bodies and open streams of one caller do not affect others, and leak
// nothing after its disconnect.
func TestTenantsHeldResources(t *testing.T) { // not parallel: goroutines are counted
	for _, proto := range []string{"h1", "h2"} {
		for name, does := range map[string]func(w *wire){
			"slow uploads": func(w *wire) {
				w.writeHead(rawRequest{length: 1000}, false)
				w.writeBody(`{"model":`, false)
			},
			"slow uploads that are streamed": func(w *wire) {
				w.writeHead(rawRequest{path: "/raw/files", length: 1 << 20}, false)
				w.writeBody(streamedPart, false)
			},
			"uploads that never begin": func(w *wire) { w.writeHead(rawRequest{length: 32 << 20}, false) },
			"held streams": func(w *wire) {
				w.writeHead(rawRequest{length: len(streamBody)}, false)
				w.writeBody(streamBody, true)
				w.readUntil("hello")
			},
		} {
			t.Run(name+"/"+proto, func(t *testing.T) {
				expectNone(t, heldResources(t, proto, does))
			})
		}
	}
}

// tenantsHeld is the number of requests that a hostile caller holds open, perHeld the bound of
// goroutines for each, with those of client and upstream in this process.
const (
	tenantsHeld = 400
	perHeld     = 12
)

func heldResources(t *testing.T, proto string, does func(*wire)) (problems []string) {
	t.Helper()
	g := chainSetup{urls: []string{blameUpstream(t, stopAfter("text/event-stream", []string{roleEvent, tokenEvent}), make(chan struct{}, 2*tenantsHeld)).URL}}.start(t)
	require.Empty(t, g.goodRequestProblems(t.Context(), proto))
	before := runtime.NumGoroutine()
	wires := make([]*wire, tenantsHeld)
	each(tenantsHeld, 16, func(i int) {
		w, err := newWire(t.Context(), g.addr(), proto)
		if assert.NoError(t, err) {
			does(w)
			wires[i] = w
		}
	})
	during := runtime.NumGoroutine()
	if cost := (during - before) / tenantsHeld; cost > perHeld {
		problems = append(problems, fmt.Sprintf("%d goroutines for each", cost))
	}
	for i, s := range loadOf(t.Context(), 50, time.Second, func(int) int { return g.sendGood(t, proto, "other") })() {
		if s.status != http.StatusOK || s.ended.Sub(s.at) > time.Second {
			problems = append(problems, fmt.Sprintf("good request %d: %d after %v", i, s.status, s.ended.Sub(s.at)))
		}
	}
	each(tenantsHeld, 16, func(i int) {
		if wires[i] != nil {
			wires[i].abort()
		}
	})
	problems = append(problems, g.awaitIdle()...)
	problems = append(problems, g.blamed()...)
	problems = append(problems, g.goodRequestProblems(t.Context(), proto)...)
	problems = append(problems, awaitNone(func() []string {
		if n := runtime.NumGoroutine(); n > before+50 { // idle connections, kept for the next request
			return []string{fmt.Sprintf("%d goroutines before, %d after", before, n)}
		}
		return nil
	})...)
	t.Logf("goroutines: %d before, %d with %d held, %d after", before, during, tenantsHeld, runtime.NumGoroutine())
	return problems
}
