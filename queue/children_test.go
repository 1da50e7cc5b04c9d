package queue_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/embedded"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// childEnv names the kind of a child process. The test starts itself again, so that a
// process can be killed.
const childEnv = "GINFER_QUEUE_CHILD"

var children = map[string]func(){"gateway": gatewayChild, "worker": workerChild, "broker": brokerChild, "nats": natsChild}

// child is a child process.
type child struct {
	cmd     *exec.Cmd
	address string
	stderr  *bytes.Buffer
}

// spawn starts a child, which ends with the test, and waits for its address.
func spawn(t *testing.T, kind string, env ...string) *child {
	t.Helper()
	c, err := begin(kind, env...)
	require.NoError(t, err)
	t.Cleanup(c.kill)
	return c
}

// begin starts a child and waits for its address. It may die before.
func begin(kind string, env ...string) (*child, error) {
	c := &child{cmd: exec.Command(os.Args[0]), stderr: &bytes.Buffer{}}
	c.cmd.Env = append(append(os.Environ(), childEnv+"="+kind), env...)
	c.cmd.Stderr = c.stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		c.kill()
		return nil, fmt.Errorf("%w: %s", err, c.stderr)
	}
	c.address = strings.TrimSpace(line)
	return c, nil
}

// supervise starts a child again whenever it dies, until the test ends.
func supervise(t *testing.T, r *remote, kind string, env ...string) {
	t.Helper()
	var mu sync.Mutex
	var current *child
	ended := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := begin(kind, env...)
			mu.Lock()
			stop := ended
			current = c
			mu.Unlock()
			if err == nil {
				r.use(c)
				if stop {
					c.kill()
				}
				_ = c.cmd.Wait()
			}
			if stop {
				return
			}
		}
	}()
	t.Cleanup(func() {
		mu.Lock()
		ended = true
		if current != nil {
			_ = current.cmd.Process.Kill()
		}
		mu.Unlock()
		<-done
	})
}

// kill is kill -9.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// poison is the length of a request, in bytes, that kills the process.
const poison = 1000

// gatewayChild has all in one process.
func gatewayChild() {
	s, err := embedded.New(embedded.Config{Dir: os.Getenv("DIR")})
	must(err)
	go func() { must(s.Run(context.Background())) }()
	serveChild(s.Connect, 1)
}

// workerChild uses a cluster.
func workerChild() { serveChild(queue.URL(os.Getenv("URL"), nats.Timeout(2*time.Second)), 3) }

func serveChild(connect func(context.Context) (*nats.Conn, error), replicas int) {
	gin.SetMode(gin.ReleaseMode)
	upstream := os.Getenv("UPSTREAM")
	attempts, err := strconv.Atoi(os.Getenv("ATTEMPTS"))
	if err != nil {
		attempts = 20
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	q, routes, err := queuetest.New(queuetest.Setup{Config: queue.Config{
		Connect: connect, Replicas: replicas, Owner: queuetest.ByHeader, Lease: 2 * time.Second, Workers: 32, Attempts: attempts,
		Limits: queue.Limits{TenantTasks: 100_000},
		Transport: queuetest.RoundTripper(func(r *http.Request) (*http.Response, error) {
			r = r.Clone(r.Context())
			r.URL.Host = upstream
			if r.ContentLength > poison {
				os.Exit(1)
			}
			return client.Do(r)
		}),
	}})
	must(err)
	go func() { must(q.Run(context.Background())) }()
	for s, _ := q.Status(context.Background()); !s.Connected; s, _ = q.Status(context.Background()) {
		<-time.After(10 * time.Millisecond)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	fmt.Println(l.Addr())
	must(http.Serve(l, routes))
}

// brokerChild is a server of a cluster.
func brokerChild() {
	peers := strings.Split(os.Getenv("PEERS"), ",")
	s, err := embedded.New(embedded.Config{
		Dir: os.Getenv("DIR"), Listen: os.Getenv("LISTEN"), Cluster: &embedded.Cluster{Server: os.Getenv("NODE"), Listen: os.Getenv("ROUTE"), Peers: peers},
	})
	must(err)
	go func() { must(s.Run(context.Background())) }()
	nc, err := s.Connect(context.Background())
	must(err)
	nc.Close()
	fmt.Println(s.Address())
	select {}
}

// natsChild is a NATS server as others run it.
func natsChild() {
	host, port, err := net.SplitHostPort(os.Getenv("LISTEN"))
	must(err)
	n, err := strconv.Atoi(port)
	must(err)
	s, err := natsserver.NewServer(&natsserver.Options{Host: host, Port: n, JetStream: true, StoreDir: os.Getenv("DIR"), NoSigs: true})
	must(err)
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		must(embedded.ErrNotReady)
	}
	fmt.Println(s.Addr())
	select {}
}

// freeAddresses are n addresses without a listener.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	all := make([]string, n)
	for i := range all {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		all[i] = l.Addr().String()
	}
	return all
}

// remote is a gateway in a child, which may be replaced by another at any time.
type remote struct {
	t      *testing.T
	client *http.Client

	mu      sync.Mutex
	address string
}

func newRemote(t *testing.T) *remote {
	t.Helper()
	tr := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(tr.CloseIdleConnections)
	return &remote{t: t, client: &http.Client{Transport: tr, Timeout: 10 * time.Second}}
}

func (r *remote) use(c *child) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.address = c.address
}

// send sends a request once.
func (r *remote) send(method, path, body string, header ...string) (int, string, error) {
	r.mu.Lock()
	address := r.address
	r.mu.Unlock()
	q, err := http.NewRequest(method, "http://"+address+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	q.Header.Set("X-User", "ann")
	for i := 0; i < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	res, err := r.client.Do(q)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// errGaveUp is returned after two minutes without the expected response.
var errGaveUp = errors.New("gave up")

// insist repeats a request until the response has a status, as a client does.
func (r *remote) insist(status int, method, path, body string, header ...string) (string, error) {
	var got string
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); {
		code, text, err := r.send(method, path, body, header...)
		if err == nil && code == status {
			return text, nil
		}
		got = fmt.Sprint(code, text, err)
		<-time.After(20 * time.Millisecond)
	}
	return "", fmt.Errorf("%w: %s %s: %s", errGaveUp, method, path, got)
}
