package e2e_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/need"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unframedUpstream cuts its responses after some bytes, unless the path says otherwise.
func unframedUpstream(t *testing.T) string {
	t.Helper()
	return newQuietServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/events") {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		if !strings.HasSuffix(r.URL.Path, "/whole") {
			panic(http.ErrAbortHandler)
		}
	})).URL
}

// readHTTP10 sends a request over HTTP/1.0 and returns all bytes of the response, and how the
// connection ended.
func readHTTP10(t *testing.T, conn net.Conn, path string) (string, error) {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: x\r\n\r\n", path)
	require.NoError(t, err)
	body, err := io.ReadAll(conn)
	return string(body), err
}

// HTTP/1.0 has no chunks: only a reset tells a cut response from a whole one.
func TestNeighbourHTTP10(t *testing.T) {
	t.Parallel()
	upstream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeEvents(w, "data: 1")
		if r.URL.Path != "/whole" {
			panic(http.ErrAbortHandler)
		}
	})
	for name, n := range writerNeighbours(t) {
		for _, protocol := range []string{"h1", "h2"} { // the latter for TLS
			t.Run(name+", "+protocol, func(t *testing.T) {
				t.Parallel()
				if n.unbroken {
					t.Skip("nothing reaches the connection")
				}
				front := n.front(t, protocol, upstream)
				if !n.buffers { // which has it as a whole, or not at all
					text, err := readHTTP10(t, dialFront(t, front), "/")
					require.ErrorIs(t, err, syscall.ECONNRESET, "%q", text)
					assert.Contains(t, text, "data: 1\n\nevent: error\n")
				}
				text, err := readHTTP10(t, dialFront(t, front), "/whole")
				require.NoError(t, err, "%q", text)
			})
		}
	}
}

// dialFront connects to a server, by TLS if its address says so.
func dialFront(t *testing.T, front string) net.Conn {
	t.Helper()
	scheme, address, _ := strings.Cut(front, "://")
	var conn net.Conn
	var err error
	if scheme == "https" {
		conn, err = tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	} else {
		conn, err = net.Dial("tcp", address)
	}
	require.NoError(t, err)
	return conn
}

func startUnframed(t *testing.T) *process {
	t.Helper()
	return start(t, fmt.Sprintf(`{%s, "upstreams": {"a": {"breaker": {"off": true}, "endpoints": [{"url": %q}]}}, "groups": [{"path": "/v1", "upstream": "a"}]}`, ports, unframedUpstream(t)))
}

func TestNeighbourHTTP10Gateway(t *testing.T) {
	t.Parallel()
	p := startUnframed(t)
	for path, cut := range map[string]bool{"/v1/x": true, "/v1/events": true, "/v1/whole": false} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.public, "http://"))
		require.NoError(t, err)
		text, err := readHTTP10(t, conn, path+" HTTP/1.0\r\nAuthorization: Bearer "+p.token+"\r\nX: x")
		assert.Contains(t, text, "data: 1\n\n", path)
		if cut {
			require.ErrorIs(t, err, syscall.ECONNRESET, path)
			continue
		}
		require.NoError(t, err, path)
	}
}

func TestNeighbourHTTP10Curl(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl")
	}
	p := startUnframed(t)
	for path, want := range map[string]int{"/v1/x": 56, "/v1/events": 56, "/v1/whole": 0} { // CURLE_RECV_ERROR
		cmd := exec.Command(curl, "-sN", "--http1.0", "-H", "Authorization: Bearer "+p.token, p.public+path)
		out, _ := cmd.Output()
		assert.Equal(t, want, cmd.ProcessState.ExitCode(), "%s: %q", path, out)
		assert.Contains(t, string(out), "data: 1\n\n", path)
	}
}

// A default nginx asks by HTTP/1.0 before 1.29.7.
func TestNeighbourNginx(t *testing.T) {
	t.Parallel()
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		need.Missing(t, "GINFER_REQUIRE_NGINX", "no nginx: %v", err)
	}
	p := startUnframed(t)
	for name, options := range map[string]string{
		"default":        "",
		"HTTP/1.0":       `proxy_http_version 1.0; proxy_set_header Connection close;`,
		"without buffer": "proxy_buffering off;",
		"HTTP/1.1":       `proxy_http_version 1.1; proxy_set_header Connection "";`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := startNginx(t, nginx, "location / { proxy_pass "+p.public+"; "+options+" }")
			client := newClient(t, 1)
			for path, cut := range map[string]bool{"/v1/x": true, "/v1/events": true, "/v1/whole": false} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+path, http.NoBody)
				require.NoError(t, err)
				req.Header.Set("Authorization", "Bearer "+p.token)
				res, err := client.Do(req)
				require.NoError(t, err)
				body, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				isBroken := err != nil || res.StatusCode == http.StatusBadGateway // nginx may drop what came before the reset
				assert.Equal(t, cut, isBroken, "%s: %d %v: %q", path, res.StatusCode, err, body)
			}
		})
	}
}

// startNginx runs nginx with a server and returns its address.
func startNginx(t *testing.T, nginx, server string) string {
	t.Helper()
	dir := t.TempDir()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := ln.Addr().String()
	require.NoError(t, ln.Close())
	file := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
	access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	server { listen %[2]s; %[3]s }
}
`, dir, address, server), 0o600))
	log := &lockedBuffer{}
	cmd := exec.Command(nginx, "-e", "stderr", "-p", dir, "-c", file)
	cmd.Stderr = log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, patience, 20*time.Millisecond, log)
	return "http://" + address
}
