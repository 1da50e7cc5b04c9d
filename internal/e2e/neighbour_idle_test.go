package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/internal/testkit/need"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startKeepAlive starts a server of another language that closes idle connections after a time, 0:
// its default. It returns its port.
func startKeepAlive(t *testing.T, language string, idle time.Duration) string {
	t.Helper()
	command, variable := []string{"node", "neighbours/keepalive.mjs"}, "GINFER_REQUIRE_NODE"
	if language == "python" {
		command, variable = []string{"python3", "neighbours/keepalive.py"}, "GINFER_REQUIRE_PYTHON"
	}
	if _, err := exec.LookPath(command[0]); err != nil {
		need.Missing(t, variable, "no %s: %v", command[0], err)
	}
	cmd := exec.Command(command[0], command[1], strconv.FormatInt(idle.Milliseconds(), 10))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	port, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(port)
}

// idleGateway relays to a server, and counts what is not a success at the first attempt.
type idleGateway struct {
	*httptest.Server

	client   *http.Client
	circuits *breaker.Group
	odd      atomic.Int64
}

func newIdleGateway(t *testing.T, port string, cfg proxy.TransportConfig) *idleGateway {
	t.Helper()
	g := &idleGateway{circuits: newCircuits(t, breaker.Config{})}
	target, err := url.Parse("http://127.0.0.1:" + port)
	require.NoError(t, err)
	p, err := proxy.New(proxy.Config{
		Target: target, Transport: g.circuits.Transport(newTransport(t, cfg)),
		OnEvent: func(_ context.Context, e proxy.Event) {
			if e.Outcome != proxy.Success || e.Attempt != 1 {
				g.odd.Add(1)
			}
		},
	})
	require.NoError(t, err)
	engine := gin.New()
	engine.POST("/*path", p.Handler())
	g.Server = newServer(t, engine)
	g.client = newClient(t, 600)
	return g
}

func (g *idleGateway) post() bool {
	res, err := g.client.Post(g.URL+"/v1/x", "application/json", strings.NewReader(`{"model":"m"}`))
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.Body.Close() == nil && err == nil && res.StatusCode == http.StatusOK
}

// Servers of other languages close idle connections, by default after 5 s: no request fails, none is
// retried, and no circuit opens, also if the pool keeps connections for longer than they do.
func TestNeighbourClosesIdleConnections(t *testing.T) {
	t.Parallel()
	for _, language := range []string{"node", "python"} {
		for _, idle := range []time.Duration{50 * time.Millisecond, time.Second, 5 * time.Second} {
			for name, cfg := range map[string]proxy.TransportConfig{
				"default":  {},
				"for ever": {IdleTimeout: -1},
				"one pool": {IdleTimeout: -1, MaxPerHost: 300}, // http.Transport
			} {
				t.Run(fmt.Sprintf("%s after %v, kept %s", language, idle, name), func(t *testing.T) {
					t.Parallel()
					testIdle(t, language, idle, cfg)
				})
			}
		}
	}
}

func testIdle(t *testing.T, language string, idle time.Duration, cfg proxy.TransportConfig) {
	t.Helper()
	clients := 40
	if idle >= time.Second {
		need.Minutes(t)
		clients = 200
	}
	g := newIdleGateway(t, startKeepAlive(t, language, idle), cfg)
	var failed atomic.Int64
	each(2000, clients, func(i int) {
		waitFor(t, idle+time.Duration(i%5-2)*500*time.Microsecond)
		if !g.post() {
			failed.Add(1)
		}
	})
	assert.Zero(t, failed.Load())
	assert.Zero(t, g.odd.Load())
	assert.Equal(t, breaker.Closed, g.circuits.Status()[0].State)
}

// Connections that a server has closed do not stay half open.
func TestNeighbourLeavesNoConnectionInCloseWait(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc/net/tcp")
	}
	port := startKeepAlive(t, "python", 300*time.Millisecond)
	g := newIdleGateway(t, port, proxy.TransportConfig{IdleTimeout: -1})
	each(511, 511, func(int) { assert.True(t, g.post()) })
	require.Eventually(t, func() bool { return len(connectionsTo(t, port)) == 0 }, patience, 100*time.Millisecond, "%v", connectionsTo(t, port))
}

// connectionsTo lists the states of the connections to a local port, from the client's side.
func connectionsTo(t *testing.T, port string) (states []string) {
	t.Helper()
	const established, closeWait = "01", "08"
	text, err := os.ReadFile("/proc/net/tcp")
	require.NoError(t, err)
	number, err := strconv.Atoi(port)
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) > 3 && strings.HasSuffix(fields[2], fmt.Sprintf(":%04X", number)) && (fields[3] == established || fields[3] == closeWait) {
			states = append(states, fields[3])
		}
	}
	return states
}

// The environment's forward proxy serves upstreams, but those that NO_PROXY names.
func TestNeighbourForwardProxyOfTheEnvironment(t *testing.T) {
	forward := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"by": "proxy", "method": %q, "host": %q}`, r.Method, r.Host)
	}))
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY"} {
		t.Setenv(name, forward.URL)
		t.Setenv(strings.ToLower(name), forward.URL)
	}
	t.Setenv("NO_PROXY", "direct.invalid")
	t.Setenv("no_proxy", "direct.invalid")
	p := start(t, fmt.Sprintf(`{%s, "upstreams": {
		"plain": {"endpoints": [{"url": "http://model.invalid"}]}, "direct": {"endpoints": [{"url": "http://direct.invalid"}]},
		"none": {"endpoints": [{"url": "http://model.invalid"}], "proxy": "none"}},
		"groups": [{"path": "/plain", "stages": [], "upstream": "plain"}, {"path": "/direct", "stages": [], "upstream": "direct"},
		{"path": "/none", "stages": [], "upstream": "none"}]}`, ports))
	for path, proxied := range map[string]bool{"/plain/x": true, "/direct/x": false, "/none/x": false} {
		res, err := newClient(t, 1).Get(p.public + path)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, proxied, strings.Contains(string(body), `"by": "proxy"`), "%s: %s", path, body)
	}
}
