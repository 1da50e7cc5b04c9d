package e2e_test

import (
	"context"
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

// socketDir returns a directory with a path that is short enough for sockets.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ginfer") //nolint:usetesting // t.TempDir may be too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// onSocket returns a client that connects to a socket.
func onSocket(t *testing.T, socket string) *http.Client {
	t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// modelOnSocket is an upstream on a socket that responds with what it received.
func modelOnSocket(t *testing.T, socket string) {
	t.Helper()
	ln, err := net.Listen("unix", socket)
	require.NoError(t, err)
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s host=%s xff=%s", r.URL.Path, r.Host, r.Header["X-Forwarded-For"])
	})}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
}

func startOnSockets(t *testing.T, dir, more string) *process {
	t.Helper()
	return start(t, fmt.Sprintf(`{"public": {"address": "unix:%[1]s/public.sock", "socket_mode": "0600"}, "private": {"address": "unix:%[1]s/private.sock"},
		"upstreams": {"model": {"endpoints": [{"url": "unix:%[1]s/model.sock:/base"}], "health": {"interval": "50ms"}}},
		"limits": {"address": {"unit": "requests", "by": "ip", "budget": 3, "period": "month"}},
		"groups": [{"path": "/", "stages": ["limits"], "limits": ["address"], "upstream": "model"}]%[2]s}`, dir, more))
}

// Both ports and the upstream are Unix sockets. Clients on a socket that is no trusted proxy have
// one bucket, and no address is made up for them.
func TestUnixSockets(t *testing.T) {
	t.Parallel()
	dir := socketDir(t)
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/public.sock"})
	require.NoError(t, err)
	stale.SetUnlinkOnClose(false)
	require.NoError(t, stale.Close()) // left behind by a crash
	modelOnSocket(t, dir+"/model.sock")
	p := startOnSockets(t, dir, "")
	info, err := os.Stat(dir + "/public.sock")
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	client := onSocket(t, dir+"/public.sock")
	for range 3 {
		res, text := p.send(client, http.MethodGet, "http://localhost/x", "", "X-Forwarded-For", "203.0.113.9")
		assert.Equal(t, http.StatusOK, res.StatusCode)
		assert.Equal(t, "/base/x host=localhost xff=[]", text)
	}
	res, _ := p.send(client, http.MethodGet, "http://localhost/x", "")
	assert.Equal(t, http.StatusTooManyRequests, res.StatusCode)
	res, text := p.send(onSocket(t, dir+"/private.sock"), http.MethodGet, "http://localhost/admin/upstreams", "")
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Contains(t, text, "unix:"+dir+"/model.sock:/base")
	p.signal(syscall.SIGTERM)
	assert.Zero(t, p.wait())
	assert.NoFileExists(t, dir+"/public.sock")
	assert.NoFileExists(t, dir+"/private.sock")
}

const nginxConf = `daemon off; master_process off; pid %[1]s/nginx.pid; error_log %[1]s/error.log;
events {}
http {
	access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	server {
		listen unix:%[1]s/nginx.sock;
		set_real_ip_from unix:; real_ip_header X-Client;
		location / {
			proxy_pass http://unix:%[1]s/public.sock;
			proxy_http_version 1.1; proxy_set_header Connection "upgrade"; proxy_set_header Upgrade $http_upgrade;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
		}
	}
}`

// A real nginx in front, over a Unix socket that is trusted: limits and the upstream see its
// clients.
func TestNeighbourNginxOverAUnixSocket(t *testing.T) {
	t.Parallel()
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		need.Missing(t, "GINFER_REQUIRE_NGINX", "nginx is not installed")
	}
	dir := socketDir(t)
	modelOnSocket(t, dir+"/model.sock")
	p := startOnSockets(t, dir, `, "trusted_proxies": ["unix"]`)
	conf := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir), 0o600))
	cmd := exec.Command(nginx, "-c", conf, "-e", dir+"/error.log")
	var says strings.Builder
	cmd.Stderr = &says
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(says.String())
		}
	})
	require.Eventually(t, func() bool {
		_, err := os.Stat(dir + "/nginx.sock")
		return err == nil
	}, time.Minute, 10*time.Millisecond)
	client := onSocket(t, dir+"/nginx.sock")
	for _, address := range []string{"203.0.113.1", "203.0.113.2", "2001:db8::1"} {
		for range 3 {
			res, text := p.send(client, http.MethodGet, "http://localhost/x", "", "X-Client", address)
			assert.Equal(t, http.StatusOK, res.StatusCode)
			assert.Equal(t, "/base/x host=localhost xff=["+address+"]", text)
		}
		res, _ := p.send(client, http.MethodGet, "http://localhost/x", "", "X-Client", address)
		assert.Equal(t, http.StatusTooManyRequests, res.StatusCode, address)
	}
}

// curl's way to a socket.
func TestNeighbourCurlOnAUnixSocket(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	dir := socketDir(t)
	modelOnSocket(t, dir+"/model.sock")
	startOnSockets(t, dir, "")
	out, err := exec.Command(curl, "-sS", "--unix-socket", dir+"/public.sock", "http://localhost/y").CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Equal(t, "/base/y host=localhost xff=[]", string(out))
}

const javaClient = `import java.net.URI;
import java.net.http.*;
import java.net.http.HttpRequest.BodyPublishers;
public class Ask {
	public static void main(String[] a) throws Exception {
		HttpClient c = HttpClient.newHttpClient();
		for (int i = 0; i < 2; i++) {
			HttpResponse<String> r = c.send(HttpRequest.newBuilder(URI.create(a[0])).header("Content-Type", "application/json").POST(BodyPublishers.ofString(a[1])).build(), HttpResponse.BodyHandlers.ofString());
			System.out.println(r.statusCode() + " " + r.headers().firstValue("Cache-Status").orElse("") + " " + r.body());
		}
	}
}`

// Java's HttpClient offers h2c with every request: it is served and cached like any other.
func TestNeighbourJavaOffersH2C(t *testing.T) {
	t.Parallel()
	java, err := exec.LookPath("java")
	if err != nil {
		t.Skip("java is not installed; TestOffersAreIgnored sends its bytes")
	}
	model := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}`)
	}))
	p := start(t, fmt.Sprintf(`{%s, "upstreams": {"model": {"endpoints": [{"url": %q}]}},
		"groups": [{"path": "/v1", "stages": ["cache", "stream"], "cache": {"shared": true}, "upstream": "model"}]}`, ports, model.URL))
	file := filepath.Join(t.TempDir(), "Ask.java")
	require.NoError(t, os.WriteFile(file, []byte(javaClient), 0o600))
	out, err := exec.Command(java, "-XX:TieredStopAtLevel=1", file, p.public+"/v1/chat/completions", `{"model":"m","temperature":0,"messages":[{"role":"user","content":"x"}]}`).CombinedOutput()
	require.NoError(t, err, string(out))
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	require.Len(t, lines, 2, string(out))
	assert.Contains(t, lines[0], "200 ginfer; fwd=")
	assert.NotContains(t, lines[0], "bypass")
	assert.Contains(t, lines[1], "200 ginfer; hit")
}
