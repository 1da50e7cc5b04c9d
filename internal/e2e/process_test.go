package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// process is a gateway that runs as a process.
type process struct {
	t               *testing.T
	cmd             *exec.Cmd
	config          string // its file
	public, private string
	token           string
	stderr          *lockedBuffer
	exited          chan struct{}
}

// ports configures free ports.
const ports = `"public": {"address": "127.0.0.1:0"}, "private": {"address": "127.0.0.1:0"}`

// start runs the gateway with a configuration and waits for its first lines.
func start(t *testing.T, config string) *process {
	t.Helper()
	return startBinary(t, gatewayBinary, config)
}

// startBinary is start for another build of the gateway.
func startBinary(t *testing.T, binary, config string) *process {
	t.Helper()
	p := newProcess(t, binary, config)
	p.cmd.Stderr = p.stderr
	p.start()
	return p
}

// startLogging is start with a destination of the log.
func startLogging(t *testing.T, log *os.File, config string) *process {
	t.Helper()
	p := newProcess(t, gatewayBinary, config)
	p.cmd.Stderr = log
	p.start()
	return p
}

func newProcess(t *testing.T, binary, config string) *process {
	t.Helper()
	p := &process{t: t, config: filepath.Join(t.TempDir(), "gateway.json"), stderr: &lockedBuffer{}, exited: make(chan struct{})}
	p.write(config)
	p.cmd = exec.Command(binary, "-config", p.config)
	return p
}

// start runs the gateway and waits for its first lines.
func (p *process) start() {
	t := p.t
	t.Helper()
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.exited
		if t.Failed() {
			t.Log(p.stderr.String())
		}
		assert.NotContains(t, p.stderr.String(), "DATA RACE")
		assert.NotContains(t, p.stderr.String(), `"msg":"panic"`)
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Try:") {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "public":
			p.public = value
		case "private":
			p.private = value
		case "token":
			p.token = value
		}
	}
	go func() {
		_, _ = io.Copy(io.Discard, stdout)
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	require.NotEmpty(t, p.public, "the gateway did not start: %s", p.stderr)
}

// write replaces the configuration file atomically, by a rename.
func (p *process) write(config string) {
	p.t.Helper()
	tmp := p.config + ".new"
	require.NoError(p.t, os.WriteFile(tmp, []byte(config), 0o600))
	require.NoError(p.t, os.Rename(tmp, p.config))
}

func (p *process) signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// wait returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		p.t.Fatal("the gateway does not exit")
	}
	return p.cmd.ProcessState.ExitCode()
}

// response is a response without its body.
type response struct {
	StatusCode int
	Header     http.Header
	Proto      string
}

// send sends a request with headers, given in pairs, and reads the response.
func (p *process) send(client *http.Client, method, url, body string, header ...string) (response, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, url, strings.NewReader(body))
	require.NoError(p.t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	req.Host = req.Header.Get("Host") // "": that of the URL
	res, err := client.Do(req)
	require.NoError(p.t, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	require.NoError(p.t, err)
	return response{res.StatusCode, res.Header, res.Proto}, string(text)
}

// sendChat sends a chat request without a credential of its own.
func (p *process) sendChat(client *http.Client, body string, header ...string) response {
	p.t.Helper()
	res, _ := p.send(client, http.MethodPost, p.public+"/v1/chat/completions", body, append([]string{"Content-Type", "application/json"}, header...)...)
	return res
}

// sendText is sendChat as a caller, and returns the body, too.
func (p *process) sendText(client *http.Client, body string, header ...string) (response, string) {
	p.t.Helper()
	return p.send(client, http.MethodPost, p.public+"/v1/chat/completions", body, append([]string{"Content-Type", "application/json", "Authorization", "Bearer caller"}, header...)...)
}

// sendWithKey sends JSON to a path with an API key.
func (p *process) sendWithKey(client *http.Client, method, path, key, body string, header ...string) (int, string) {
	p.t.Helper()
	res, text := p.send(client, method, p.public+path, body, append([]string{"Authorization", "Bearer " + key, "Content-Type", "application/json"}, header...)...)
	return res.StatusCode, text
}

// admin sends a request to the private port.
func (p *process) admin(method, path, body string, header ...string) (int, string) {
	p.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, text := p.send(client, method, p.private+path, body, header...)
	return res.StatusCode, text
}

var profileTotal = regexp.MustCompile(`goroutine profile: total (\d+)`)

// groupSize matches the number of goroutines with the same stack.
var groupSize = regexp.MustCompile(`(?m)^(\d+) @ `)

// goroutines returns the number of the gateway's goroutines, without the two per endpoint
// that hystrix never stops.
func (p *process) goroutines() int {
	p.t.Helper()
	_, text := p.admin(http.MethodGet, "/debug/pprof/goroutine?debug=1", "")
	n, err := strconv.Atoi(profileTotal.FindStringSubmatch(text)[1])
	require.NoError(p.t, err)
	for group := range strings.SplitSeq(text, "\n\n") {
		if size := groupSize.FindStringSubmatch(group); size != nil && strings.Contains(group, "hystrix-go/hystrix.") {
			of, err := strconv.Atoi(size[1])
			require.NoError(p.t, err)
			n -= of
		}
	}
	return n
}

// settledGoroutines waits until the number of goroutines no longer changes: some start after
// the first lines are printed.
func (p *process) settledGoroutines() int {
	p.t.Helper()
	last, same := 0, 0
	require.Eventually(p.t, func() bool {
		n := p.goroutines()
		if n != last {
			last, same = n, 0
		}
		same++
		return same == 10
	}, 10*time.Second, 20*time.Millisecond)
	return last
}

// awaitIdle waits until no exchange is in flight at any endpoint.
func (p *process) awaitIdle() {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return p.inflight() == 0 }, patience, 10*time.Millisecond)
}

// inflight is the number of exchanges in flight at the endpoints.
func (p *process) inflight() int {
	p.t.Helper()
	_, text := p.admin(http.MethodGet, "/admin/upstreams", "")
	var pools map[string][]struct{ Inflight int }
	require.NoError(p.t, json.Unmarshal([]byte(text), &pools))
	n := 0
	for _, endpoints := range pools {
		for _, e := range endpoints {
			n += e.Inflight
		}
	}
	return n
}

// chat sends a chat request with the gateway's token.
func (p *process) chat(client *http.Client, user, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.public+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-User-Id", user)
	return client.Do(req)
}

// twoVersions configures a gateway in front of two servers, with weights in the example's
// table.
func twoVersions(stable, canary string, weights [2]int) string {
	return fmt.Sprintf(`{%s,
	"upstreams": {"v1.2": {"endpoints": [{"url": %q}]}, "v1.3": {"endpoints": [{"url": %q}]}},
	"groups": [{"path": "/v1", "routing": {"sticky_header": "X-User-Id", "table": {"routes": [
		{"model": "demo", "version": "v1.3", "conditions": {"headers": {"beta-user": "true"}}},
		{"model": "demo", "version": "v1.2", "weight": %d},
		{"model": "demo", "version": "v1.3", "weight": %d, "fallback": ["v1.2"]}]}},
		"proxy": {"retry_posts": true}}]}`, ports, stable, canary, weights[0], weights[1])
}
