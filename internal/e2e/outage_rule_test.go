package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginfer/ginfer/breaker"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pattern is a sequence of one caller's requests: "." succeeds, "F" fails, "_" is a pause of
// eleven seconds, which is longer than the window.
type pattern struct {
	name, script string
	opens        bool
}

// The circuit opens exactly when half of at least ten requests in ten seconds failed, in any
// order.
var patterns = []pattern{
	{"in turn", ".F.F.F.F.F", true},
	{"in turn, the other way", "F.F.F.F.F.", true},
	{"failures first", "FFFFF.....", true},
	{"failures last", ".....FFFFF", true},
	{"in pairs", "FF..FF..F.", true},
	{"in pairs, the other way", "..FF..FF.F", true},
	{"no pattern", ".FF...FF.F", true},
	{"half of twelve", ".F.F.F.F.F.F", true},
	{"the failing part last", "........FFFFFFFF", true},
	{"six of ten", "F.FF.F.FF.", true},
	{"ten of ten", "FFFFFFFFFF", true},
	{"old successes do not count", "...................._.F.F.F.F.F", true},
	{"four of ten", "FFFF......", false},
	{"four of ten, in turn", ".F.F.F.F..", false},
	{"nine of nine", "FFFFFFFFF", false},
	{"five of eleven", "F.F.F.F.F..", false},
	{"nine, a pause, one", "FFFFFFFFF_F", false},
	{"nine, a pause, nine", "FFFFFFFFF_FFFFFFFFF", false},
	{"five in turn, a pause, five in turn", ".F.F._F.F.F", false},
	{"none of many", "....................", false},
}

// Not parallel: circuits of other tests would share its rates.
func TestOutageRule(t *testing.T) {
	opened := make([]bool, len(patterns))
	var wg sync.WaitGroup
	for i, p := range patterns {
		wg.Go(func() {
			var err error
			opened[i], err = p.play(t)
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	for i, p := range patterns {
		t.Run(p.name, func(t *testing.T) {
			var problems []string
			if opened[i] != p.opens {
				problems = append(problems, fmt.Sprintf("%q: open is %v", p.script, opened[i]))
			}
			expectNone(t, problems)
		})
	}
}

// play reports whether the circuit is open at the end, or refuses the next request.
func (p pattern) play(t *testing.T) (open bool, err error) {
	t.Helper()
	g, err := breaker.New(breaker.Config{})
	if err != nil {
		return false, err
	}
	t.Cleanup(g.Close)
	turn := new(byte)
	through := g.Transport(scriptedTransport{turn})
	for _, *turn = range []byte(p.script) {
		if *turn == '_' {
			waitFor(t, 11*time.Second)
			continue
		}
		if err := call(t.Context(), through); err != nil {
			return errors.Is(err, breaker.ErrOpen), nil
		}
	}
	is := func() bool { return isOpen(g) }
	if assert.Eventually(new(discardT), is, time.Second, 5*time.Millisecond) {
		return true, nil
	}
	*turn = '.'
	return errors.Is(call(t.Context(), through), breaker.ErrOpen), nil
}

// isOpen reports whether a circuit is open, also after g was closed.
func isOpen(g *breaker.Group) bool {
	return slices.ContainsFunc(g.Status(), func(s breaker.Status) bool { return s.State == breaker.Open })
}

// call sends a request and reads the response.
func call(ctx context.Context, through http.RoundTripper) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://endpoint.example/x", nil)
	if err != nil {
		return err
	}
	res, err := through.RoundTrip(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return errors.Join(err, res.Body.Close())
}

// The rate is evaluated at the end of an exchange: the decisive failure opens the circuit,
// not the next request.
func TestOutageRuleAtTheEnd(t *testing.T) {
	g := newCircuits(t, breaker.Config{})
	turn := new(byte)
	through := g.Transport(scriptedTransport{turn})
	for _, *turn = range []byte("F.F.F.F.FF") {
		require.NoError(t, call(t.Context(), through))
	}
	var problems []string
	is := func() bool { return isOpen(g) }
	if !assert.Eventually(new(discardT), is, time.Second, 5*time.Millisecond) {
		problems = append(problems, "six of ten have failed, and the circuit is closed")
	}
	expectNone(t, problems)
}

// scriptedTransport is an endpoint with the next response given by a pattern.
type scriptedTransport struct{ turn *byte }

// RoundTrip implements http.RoundTripper.
func (s scriptedTransport) RoundTrip(*http.Request) (*http.Response, error) {
	status := http.StatusOK
	if *s.turn == 'F' {
		status = http.StatusInternalServerError
	}
	return &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), ContentLength: 2}, nil
}

// An open circuit stays open for five seconds, with a jitter of a fifth, and then admits a
// request.
func TestOutageSleep(t *testing.T) {
	t.Parallel()
	g := newCircuits(t, breaker.Config{})
	turn := new(byte)
	through := g.Transport(scriptedTransport{turn})
	*turn = 'F'
	for range 10 {
		require.NoError(t, call(t.Context(), through))
	}
	*turn = '.'
	require.Eventually(t, func() bool { return errors.Is(call(t.Context(), through), breaker.ErrOpen) }, time.Second, time.Millisecond)
	opened := time.Now()
	require.Eventually(t, func() bool { return call(t.Context(), through) == nil }, 10*time.Second, 10*time.Millisecond)
	assert.InDelta(t, 5, time.Since(opened).Seconds(), 1.2)
}
