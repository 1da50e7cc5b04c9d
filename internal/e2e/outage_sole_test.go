package e2e_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// nightly enables cases that take tens of seconds of real time; see `make nightly`.
var nightly = os.Getenv("GINFER_NIGHTLY") != ""

// restartableServer is an endpoint that can be killed and restarted at its address.
type restartableServer struct {
	addr   string
	serve  http.Handler
	server *http.Server
	over   sync.WaitGroup
}

func newRestartableServer(t *testing.T, serve http.Handler) *restartableServer {
	t.Helper()
	m := &restartableServer{addr: "127.0.0.1:0", serve: serve}
	require.NoError(t, m.start(t.Context()))
	t.Cleanup(m.kill)
	return m
}

func (m *restartableServer) start(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", m.addr)
	if err != nil {
		return err
	}
	m.addr = l.Addr().String()
	m.server = &http.Server{Handler: m.serve, ErrorLog: log.New(io.Discard, "", 0)}
	m.over.Go(func() { _ = m.server.Serve(l) })
	return nil
}

// kill closes the port and all connections.
func (m *restartableServer) kill() {
	_ = m.server.Close()
	m.over.Wait()
}

// loadResult is a request of a load.
type loadResult struct {
	at, ended time.Time
	number    int
	status    int // 0: no response
}

// loadOf sends rate requests a second for d without waiting for responses. The function that
// it returns waits for the last one.
func loadOf(ctx context.Context, rate int, d time.Duration, send func(number int) int) (collect func() []loadResult) {
	n := int(d * time.Duration(rate) / time.Second)
	all := make([]loadResult, n)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for i := range n {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				at := time.Now()
				status := send(i)
				all[i] = loadResult{at, time.Now(), i, status}
			})
		}
	})
	return func() []loadResult { wg.Wait(); return all }
}

// sender sends requests of four callers to a path of the chain.
func (g *chain) sender(t *testing.T, path string) func(number int) int {
	t.Helper()
	client := newClient(t, 64)
	return func(number int) int {
		return g.get(t.Context(), client, path, "caller-"+strconv.Itoa(number%4), number)
	}
}

// get returns the status; 0: no response, or a cut one.
func (g *chain) get(ctx context.Context, client *http.Client, path, caller string, number int) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+path, nil)
	if err != nil {
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+caller)
	req.Header.Set("X-Number", strconv.Itoa(number))
	res, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return 0
	}
	return res.StatusCode
}

// A sole endpoint that was down for two seconds serves within a second of its return, and
// from then on all requests: refusing gains nothing where no other endpoint can serve.
func TestOutageOfTheOnlyEndpoint(t *testing.T) {
	t.Parallel()
	for _, retry := range []bool{true, false} {
		variant := map[bool]string{true: "on", false: "off"}[retry]
		t.Run("retry "+variant, func(t *testing.T) {
			t.Parallel()
			expectNone(t, soleEndpointOutage(t, retry))
		})
	}
}

func soleEndpointOutage(t *testing.T, retry bool) (problems []string) {
	t.Helper()
	m := newRestartableServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, goodJSON) }))
	g := chainSetup{urls: []string{"http://" + m.addr}, retry: retry}.start(t)
	collect := loadOf(t.Context(), 40, 8*time.Second, g.sender(t, "/raw/x"))
	waitFor(t, time.Second)
	m.kill()
	waitFor(t, 2*time.Second)
	require.NoError(t, m.start(t.Context()))
	back := time.Now()
	all := collect()
	var first time.Time
	served, of := 0, 0
	for _, s := range all {
		switch {
		case s.at.Before(back):
		case first.IsZero() && s.status != http.StatusOK:
		case first.IsZero():
			first = s.ended
		default:
			of++
			if s.status == http.StatusOK {
				served++
			}
		}
	}
	t.Logf("first success %v after the return, then %d of %d served", first.Sub(back), served, of)
	if first.IsZero() || first.Sub(back) > time.Second {
		problems = append(problems, fmt.Sprintf("the first success came %v after the return", first.Sub(back)))
	}
	if of == 0 || served*100 < of*99 {
		problems = append(problems, fmt.Sprintf("%d of %d served after it", served, of))
	}
	return append(problems, g.awaitIdle()...)
}

// ordinary is a healthy server with a share of errors, always for the same request numbers.
func ordinary(percent int) (serve http.Handler, fails func(number int) bool) {
	r := rand.New(rand.NewPCG(uint64(percent), 7))
	bad := make([]bool, 10_000)
	for i := range bad {
		bad[i] = r.IntN(100) < percent
	}
	fails = func(number int) bool { return bad[number%len(bad)] }
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if n, _ := strconv.Atoi(req.Header.Get("X-Number")); fails(n) {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, goodJSON)
	}), fails
}

// After an outage, ordinary errors must not keep the sole endpoint out: within one percentage
// point clients get what they would get without a gateway.
func TestOutageWithOrdinaryErrors(t *testing.T) {
	t.Parallel()
	for _, percent := range []int{3, 5} {
		rates := []int{200}
		if nightly {
			rates = append(rates, 40)
		}
		for _, rate := range rates {
			name := fmt.Sprintf("%d %% at %d", percent, rate)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				expectNone(t, ordinaryOutage(t, percent, rate))
			})
		}
	}
}

func ordinaryOutage(t *testing.T, percent, rate int) (problems []string) {
	t.Helper()
	const n = 1000
	serve, fails := ordinary(percent)
	m := newRestartableServer(t, serve)
	g := chainSetup{urls: []string{"http://" + m.addr}}.start(t)
	collect := loadOf(t.Context(), rate, 4*time.Second+time.Duration(n/rate+1)*time.Second, g.sender(t, "/raw/x"))
	waitFor(t, time.Second)
	m.kill()
	waitFor(t, 2*time.Second)
	require.NoError(t, m.start(t.Context()))
	from := time.Now().Add(time.Second)
	of, served, direct := 0, 0, 0
	for _, s := range collect() {
		if s.at.Before(from) {
			continue
		}
		of++
		if s.status == http.StatusOK {
			served++
		}
		if !fails(s.number) {
			direct++
		}
	}
	require.GreaterOrEqual(t, of, n)
	t.Logf("%d of %d served, %d directly", served, of, direct)
	if direct-served > of/100 {
		problems = append(problems, fmt.Sprintf("%d of %d served, %d directly", served, of, direct))
	}
	return append(problems, g.awaitIdle()...)
}

// A path that always fails, polled ten times a second, does not affect other paths, even of
// the same caller.
func TestOutageOfOnePath(t *testing.T) {
	t.Parallel()
	for _, poller := range []string{"poller", "caller-0"} {
		t.Run(poller, func(t *testing.T) {
			t.Parallel()
			expectNone(t, onePath(t, poller))
		})
	}
}

// badPath fails under /raw/bad.
var badPath = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/raw/bad") {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, goodJSON)
})

func onePath(t *testing.T, poller string) (problems []string) {
	t.Helper()
	lasts := 6 * time.Second
	if nightly {
		lasts = 45 * time.Second
	}
	g := chainSetup{urls: []string{"http://" + newRestartableServer(t, badPath).addr}}.start(t)
	client := newClient(t, 16)
	polls := loadOf(t.Context(), 10, lasts, func(i int) int { return g.get(t.Context(), client, "/raw/bad", poller, i) })
	for i, s := range loadOf(t.Context(), 2, lasts, func(i int) int { return g.get(t.Context(), client, "/raw/good", "caller-0", i) })() {
		if s.status != http.StatusOK {
			problems = append(problems, fmt.Sprintf("good request %d: %d", i, s.status))
		}
	}
	polls()
	return append(problems, g.awaitIdle()...)
}

// Four requests to a failing path are four observations, whatever the number of attempts.
func TestOutageOfFourRequests(t *testing.T) {
	t.Parallel()
	g := chainSetup{urls: []string{"http://" + newRestartableServer(t, badPath).addr}, retry: true}.start(t)
	client := newClient(t, 1)
	for i := range 4 {
		assert.Contains(t, []int{http.StatusInternalServerError, http.StatusServiceUnavailable}, g.get(t.Context(), client, "/raw/bad", "caller", i))
	}
	var problems []string
	for i := range 4 {
		if status := g.get(t.Context(), client, "/raw/good", "caller", i); status != http.StatusOK {
			problems = append(problems, fmt.Sprintf("good request %d: %d", i, status))
		}
	}
	expectNone(t, append(problems, g.awaitIdle()...))
}
