package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var interrupt = os.Interrupt

// okUpstream is an upstream that responds at once.
func okUpstream(t *testing.T) *httptest.Server {
	t.Helper()
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"ok":true}`)
	}))
	return s
}

// heldStreams is an upstream with streams that wait after their first event.
func heldStreams(t *testing.T) (s *httptest.Server, begun *atomic.Int64, release func()) {
	t.Helper()
	gate := make(chan struct{})
	begun = new(atomic.Int64)
	s = newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {}\n\n")
		w.(http.Flusher).Flush()
		begun.Add(1)
		select {
		case <-gate:
			_, _ = io.WriteString(w, "data: {}\n\ndata: [DONE]\n\n")
		case <-r.Context().Done():
		}
	}))
	release = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release)
	return s, begun, release
}

// 10,000 users split 90/10 within one per cent, and each stays with its version.
func TestTenThousandRequestsOverNinetyTen(t *testing.T) {
	stable, canary := okUpstream(t), okUpstream(t)
	p := start(t, twoVersions(stable.URL, canary.URL, [2]int{90, 10}))
	client := newClient(t, 32)
	var failed, onCanary, moved atomic.Int64
	version := func(user string) string {
		res, err := p.chat(client, user, `{"model":"demo"}`)
		if err != nil {
			failed.Add(1)
			return ""
		}
		defer func() { _ = res.Body.Close() }()
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
			failed.Add(1)
		}
		return res.Header.Get("X-Model-Version")
	}
	each(10_000, 32, func(i int) {
		user := fmt.Sprintf("user-%d", i)
		v := version(user)
		if v == "v1.3" {
			onCanary.Add(1)
		}
		if i%10 == 0 && version(user) != v {
			moved.Add(1)
		}
	})
	assert.Zero(t, failed.Load())
	assert.Zero(t, moved.Load())
	assert.InDelta(t, 1000, onCanary.Load(), 100)
	t.Logf("on v1.3: %d of 10,000", onCanary.Load())
}

// openStreams opens n streams and returns when each has its first event; collect waits for
// their ends and returns how many were whole.
func openStreams(t *testing.T, p *process, client *http.Client, n int, begun *atomic.Int64) (collect func() int) {
	t.Helper()
	var whole atomic.Int64
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			res, err := p.chat(client, strconv.Itoa(i), `{"model":"demo","stream":true}`)
			if err != nil {
				return
			}
			defer func() { _ = res.Body.Close() }()
			body, err := io.ReadAll(res.Body)
			if err == nil && bytes.HasSuffix(body, []byte("data: [DONE]\n\n")) && bytes.Count(body, []byte("data: ")) == 3 {
				whole.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return begun.Load() == int64(n) }, time.Minute, 10*time.Millisecond)
	return func() int { wg.Wait(); return int(whole.Load()) }
}

func TestTwoThousandStreamsLeaveNoGoroutine(t *testing.T) {
	const streams = 2000
	upstream, begun, release := heldStreams(t)
	p := start(t, twoVersions(upstream.URL, upstream.URL, [2]int{90, 10}))
	before := p.settledGoroutines()
	client := newClient(t, streams)
	collect := openStreams(t, p, client, streams, begun)
	require.Eventually(t, func() bool { // the gateway sees them a moment later
		_, routes := p.admin(http.MethodGet, "/admin/routes", "")
		return strings.Contains(routes, fmt.Sprintf(`"open_streams":%d`, streams))
	}, time.Minute, 10*time.Millisecond)
	during := p.goroutines()
	release()
	assert.Equal(t, streams, collect(), "all are whole")
	client.CloseIdleConnections()
	upstream.Close() // with its idle connections
	require.Eventually(t, func() bool { return p.goroutines() <= before }, 30*time.Second, 50*time.Millisecond, "before %d", before)
	t.Logf("goroutines: %d before, %d with %d streams (%.1f each), %d after", before, during, streams, float64(during-before)/streams, p.goroutines())
}

func TestTerminateLosesNoStream(t *testing.T) {
	const streams = 200
	upstream, begun, release := heldStreams(t)
	p := start(t, twoVersions(upstream.URL, upstream.URL, [2]int{50, 50}))
	client := newClient(t, streams)
	collect := openStreams(t, p, client, streams, begun)
	code, _ := p.admin(http.MethodGet, "/readyz", "")
	require.Equal(t, http.StatusOK, code)
	p.signal(syscall.SIGTERM)
	require.Eventually(t, func() bool {
		code, _ := p.admin(http.MethodGet, "/readyz", "")
		return code == http.StatusServiceUnavailable
	}, 5*time.Second, 5*time.Millisecond, "readiness fails first")
	require.Eventually(t, func() bool {
		res, err := p.chat(newClient(t, 0), "late", `{"model":"demo"}`)
		if err == nil {
			_ = res.Body.Close()
		}
		return err != nil
	}, 5*time.Second, 10*time.Millisecond, "no new connections")
	release()
	assert.Equal(t, streams, collect())
	assert.Equal(t, 0, p.wait())
	assert.Contains(t, p.stderr.String(), "nothing was cut")
}

// At the drain's deadline the remaining streams get an error event, and the exit code is 1.
func TestTerminateDeadline(t *testing.T) {
	upstream, begun, _ := heldStreams(t)
	p := start(t, strings.Replace(twoVersions(upstream.URL, upstream.URL, [2]int{1, 1}), ports, ports+`, "drain": {"timeout": "300ms"}`, 1))
	got := make(chan string, 1)
	go func() {
		res, err := p.chat(newClient(t, 0), "a", `{"model":"demo","stream":true}`)
		if err != nil {
			got <- err.Error()
			return
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		got <- fmt.Sprintf("%s|%v", body, err)
	}()
	require.Eventually(t, func() bool { return begun.Load() == 1 }, 10*time.Second, 5*time.Millisecond)
	p.signal(syscall.SIGTERM)
	body := <-got
	assert.Contains(t, body, `"code":"shutting_down"`)
	assert.Contains(t, body, "unexpected EOF", "and it is broken, not complete")
	assert.NotContains(t, body, "[DONE]")
	assert.Equal(t, 1, p.wait())
}

// load sends requests from a number of workers until stop is called.
func load(t *testing.T, p *process, workers int, sent, failed *atomic.Int64) (stop func()) {
	t.Helper()
	client := newClient(t, workers)
	good := func(user string) bool {
		res, err := p.chat(client, user, `{"model":"demo"}`)
		if err != nil {
			return false
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		return err == nil && res.StatusCode == http.StatusOK && string(body) == `{"ok":true}`
	}
	var done atomic.Bool
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := 0; !done.Load(); i++ {
				sent.Add(1)
				if !good(fmt.Sprint(w, i)) {
					failed.Add(1)
				}
			}
		})
	}
	return func() { done.Store(true); wg.Wait() }
}

// A hundred reloads of the table under load fail no request.
func TestReloadUnderLoad(t *testing.T) {
	stable, canary := okUpstream(t), okUpstream(t)
	weights := [2][2]int{{90, 10}, {50, 50}}
	p := start(t, twoVersions(stable.URL, canary.URL, weights[0]))
	var sent, failed atomic.Int64
	stop := load(t, p, 8, &sent, &failed)
	for i := range 100 {
		code, text := p.admin(http.MethodPut, "/admin/config", twoVersions(stable.URL, canary.URL, weights[(i+1)%2]), "Content-Type", "application/json")
		require.Equal(t, http.StatusOK, code, text)
		enough := sent.Load() + 50
		require.Eventually(t, func() bool { return sent.Load() >= enough }, 10*time.Second, time.Millisecond)
	}
	code, text := p.admin(http.MethodPut, "/admin/config", `{"groups": [{"path": "x"}]}`, "Content-Type", "application/json")
	assert.Equal(t, http.StatusUnprocessableEntity, code)
	assert.Contains(t, text, "groups[0].path")
	stop()
	assert.Zero(t, failed.Load())
	_, text = p.admin(http.MethodGet, "/admin/routes", "")
	assert.Contains(t, text, `"reloads":100`)
	t.Logf("%d requests during 100 reloads, %d failed", sent.Load(), failed.Load())
}

// A stream that began before a reload continues with its old configuration.
func TestReloadCutsNoStream(t *testing.T) {
	upstream, begun, release := heldStreams(t)
	other := okUpstream(t)
	p := start(t, twoVersions(upstream.URL, upstream.URL, [2]int{1, 1}))
	collect := openStreams(t, p, newClient(t, 20), 20, begun)
	p.write(twoVersions(other.URL, other.URL, [2]int{1, 1}))
	require.Eventually(t, func() bool {
		_, s := p.admin(http.MethodGet, "/admin/routes", "")
		return strings.Contains(s, `"reloads":1`)
	}, 10*time.Second, 10*time.Millisecond, "the file is watched")
	release()
	assert.Equal(t, 20, collect())
}

// An invalid file is refused, the configuration in force stays, and the next valid file is
// loaded.
func TestBadFileWhileRunning(t *testing.T) {
	upstream := okUpstream(t)
	good := twoVersions(upstream.URL, upstream.URL, [2]int{1, 1})
	p := start(t, good)
	p.write(`{"groups": []}`)
	require.Eventually(t, func() bool {
		_, s := p.admin(http.MethodGet, "/admin/routes", "")
		return strings.Contains(s, "last_error")
	}, 10*time.Second, 10*time.Millisecond)
	res, err := p.chat(newClient(t, 0), "a", `{"model":"demo"}`)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, http.StatusOK, res.StatusCode)
	p.write(strings.Replace(good, `"weight": 1`, `"weight": 2`, 1))
	require.Eventually(t, func() bool {
		_, s := p.admin(http.MethodGet, "/admin/routes", "")
		return strings.Contains(s, `"reloads":1`) && !strings.Contains(s, "last_error")
	}, 10*time.Second, 10*time.Millisecond)
}

func TestAdmin(t *testing.T) {
	upstream := okUpstream(t)
	config := twoVersions(upstream.URL, upstream.URL, [2]int{1, 1})
	p := start(t, config)
	code, text := p.admin(http.MethodGet, "/admin/config", "")
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, config, text)
	other := strings.Replace(config, `"weight": 1`, `"weight": 3`, 1)
	code, _ = p.admin(http.MethodPut, "/admin/config", other, "Content-Type", "application/json", "If-Match", `"000000000000"`)
	assert.Equal(t, http.StatusPreconditionFailed, code)
	code, _ = p.admin(http.MethodPut, "/admin/config", other)
	assert.Equal(t, http.StatusUnsupportedMediaType, code, "a web page can't send it")
	code, _ = p.admin(http.MethodPut, "/admin/config", other, "Content-Type", "application/json", "If-Match", "*")
	assert.Equal(t, http.StatusOK, code)
	code, _ = p.admin(http.MethodPost, "/admin/reload", "")
	assert.Equal(t, http.StatusOK, code)
	_, text = p.admin(http.MethodGet, "/admin/config", "")
	assert.Equal(t, config, text, "the file is in force again")
	for _, path := range []string{"/livez", "/readyz", "/admin/upstreams", "/debug/pprof/", "/debug/pprof/heap?debug=1", "/debug/pprof/cmdline"} {
		code, _ = p.admin(http.MethodGet, path, "")
		assert.Equal(t, http.StatusOK, code, path)
	}
}

// The same binary is a plain reverse proxy for any path and method.
func TestPlainReverseProxy(t *testing.T) {
	web := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"))
	}))
	p := start(t, fmt.Sprintf(`{%s, "upstreams": {"web": {"endpoints": [{"url": %q}]}}, "groups": [
		{"path": "/", "stages": [], "upstream": "web"},
		{"path": "/api", "methods": ["PATCH"], "stages": ["auth"], "upstream": "web", "proxy": {"strip_prefix": true}}]}`, ports, web.URL+"/base"))
	for _, tt := range []struct{ method, path, token, want string }{
		{http.MethodGet, "/a%2Fb?x=1&x=2;y", "mine", "GET /base/a%2Fb?x=1&x=2;y Bearer mine"},
		{http.MethodDelete, "/", "mine", "DELETE /base/ Bearer mine"},
		{http.MethodPatch, "/api/x", p.token, "PATCH /base/x "},
		{http.MethodPatch, "/apix", "mine", "PATCH /base/apix Bearer mine"},
		{http.MethodPatch, "/api/x", "mine", "401"},
		{http.MethodGet, "/api/x", p.token, "405"},
	} {
		res, body := p.send(newClient(t, 0), tt.method, p.public+tt.path, "", "Authorization", "Bearer "+tt.token)
		if len(tt.want) == 3 {
			assert.Equal(t, tt.want, strconv.Itoa(res.StatusCode), tt.path)
			continue
		}
		assert.Equal(t, tt.want, body)
	}
}
