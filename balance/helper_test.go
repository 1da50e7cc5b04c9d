package balance_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/require"
)

// advance moves the bubble's clock and lets every goroutine react.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// run starts the pool's loops, and ends them with the test.
func run(t *testing.T, p *balance.Pool) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	synctest.Wait()
}

// checkOnce runs the pool's first checks, which alone decide.
func checkOnce(t *testing.T, p *balance.Pool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		synctest.Wait()
		cancel()
		require.NoError(t, <-done)
	})
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }

// sortedPrefix sorts the first n, which are concurrent.
func sortedPrefix(list []string, n int) []string {
	slices.Sort(list[:min(n, len(list))])
	return list
}

// status returns the status of one endpoint.
func status(t *testing.T, p *balance.Pool, name string) balance.Status {
	t.Helper()
	for _, s := range p.Status() {
		if s.Name == name {
			return s
		}
	}
	require.Fail(t, "no endpoint "+name)
	return balance.Status{}
}

// served counts the endpoints that respond to n requests. Each is read to its end.
func served(t *testing.T, p http.RoundTripper, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range n {
		host, _ := send(t, p, request(t, ""))
		got[host]++
	}
	return got
}

// watched is a body that counts how often it is closed.
type watched struct {
	io.Reader
	closed atomic.Int64
}

func (w *watched) Read(p []byte) (int, error) {
	if w.Reader == nil {
		return 0, io.EOF
	}
	return w.Reader.Read(p)
}

func (w *watched) Close() error {
	w.closed.Add(1)
	return nil
}

// directed sends a request to the endpoint that its X-Key names; to none without.
func directed() balance.Policy {
	return policyFunc(func(list []balance.EndpointInfo) balance.Picker {
		return pickerFunc(func(req *http.Request, c balance.Candidates) int {
			i := slices.IndexFunc(list, func(s balance.EndpointInfo) bool { return s.Name == req.Header.Get("X-Key") })
			if i >= 0 && c.Usable(i) {
				return i
			}
			return -1
		})
	})
}

type policyFunc func([]balance.EndpointInfo) balance.Picker

func (f policyFunc) Picker(s []balance.EndpointInfo) balance.Picker { return f(s) }

type pickerFunc func(*http.Request, balance.Candidates) int

func (f pickerFunc) Pick(req *http.Request, c balance.Candidates) int { return f(req, c) }

// respond responds with the status in the request's X-Status, 200 by default, and its
// X-Retry-After.
func respond(req *http.Request) (*http.Response, error) {
	code, err := strconv.Atoi(req.Header.Get("X-Status"))
	if err != nil {
		code = http.StatusOK
	}
	res := response(code, "x")
	if v := req.Header.Get("X-Retry-After"); v != "" {
		res.Header.Set("Retry-After", v)
	}
	return res, nil
}

// outcomes makes exchanges at one endpoint: o is a success, f a failure. It reports whether the
// endpoint was used for all of them.
func outcomes(t *testing.T, p *balance.Pool, endpoint, list string) bool {
	t.Helper()
	used := true
	for _, r := range list {
		req := request(t, endpoint)
		req.Header.Set("X-Status", map[rune]string{'o': "200", 'f': "500"}[r])
		_, err := send(t, p, req)
		used = used && err == nil
	}
	return used
}
