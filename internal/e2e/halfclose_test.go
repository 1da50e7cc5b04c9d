package e2e_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// layers are the layers that a response passes, outermost first as in the reference gateway.
var layers = []string{"routing", "observe", "meter", "balance", "breaker"}

// stacks returns no layers, each alone, each pair in both orders, and all together.
func stacks() [][]string {
	list := [][]string{{}, layers}
	for _, outer := range layers {
		list = append(list, []string{outer})
		for _, inner := range layers {
			if inner != outer {
				list = append(list, []string{outer, inner})
			}
		}
	}
	return list
}

// buildStack wraps a transport in layers, and returns the middlewares that they need.
func buildStack(t *testing.T, names []string, target string, next http.RoundTripper) (http.RoundTripper, gin.HandlersChain) {
	t.Helper()
	var chain gin.HandlersChain
	for _, name := range slices.Backward(names) {
		switch name {
		case "breaker":
			g := newCircuits(t, breaker.Config{})
			next = g.Transport(next)
		case "balance":
			p := newPool(t, balance.Config{Endpoints: []balance.Endpoint{{URL: target}}, Transport: next})
			next = p
		case "meter":
			m, err := stream.NewMeter(stream.MeterConfig{OnUsage: func(context.Context, stream.Usage) {}})
			require.NoError(t, err)
			next = m.Transport(next)
		case "observe":
			tracing, err := observe.NewTracing(observe.TracingConfig{TracerProvider: sdktrace.NewTracerProvider()})
			require.NoError(t, err)
			access, err := observe.NewAccessLog(observe.AccessLogConfig{Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			next = tracing.Transport(next)
			chain = append(chain, access.Middleware(), tracing.Middleware())
		case "routing":
			r, err := routing.New(routing.Config{Table: routing.Table{Routes: []routing.Route{{Version: "v1", Upstream: "a"}}}, Upstreams: map[string]http.RoundTripper{"a": next}})
			require.NoError(t, err)
			next = r.Transport()
			chain = append(chain, r.Middleware())
		}
	}
	return next, chain
}

// upgradeGateway is a gateway with layers in front of an upstream that switches protocols.
type upgradeGateway struct {
	server *httptest.Server
	calls  *counted
}

func newUpgradeGateway(t *testing.T, names []string, target string) *upgradeGateway {
	t.Helper()
	transport := newTransport(t, proxy.TransportConfig{})
	h := &upgradeGateway{calls: &counted{next: transport}}
	through, chain := buildStack(t, names, target, h.calls)
	at, err := url.Parse(target)
	require.NoError(t, err)
	p, err := proxy.New(proxy.Config{Transport: through, Target: at})
	require.NoError(t, err)
	r := gin.New()
	r.GET("/*path", append(chain, stream.Middleware(stream.Config{}), p.Handler())...)
	h.server = newServer(t, r)
	return h
}

// upgradeUpstream is an upstream that responds with 101 and passes the connection to serve.
func upgradeUpstream(t *testing.T, serve func(c *net.TCPConn, in *bufio.Reader)) string {
	t.Helper()
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		if tcp, ok := conn.(*net.TCPConn); ok {
			serve(tcp, rw.Reader)
		}
	}))
	return s.URL
}

// upgrade opens an upgraded connection as a client.
func (h *upgradeGateway) upgrade(ctx context.Context) (*net.TCPConn, *bufio.Reader, error) {
	c, err := dialed(ctx, strings.TrimPrefix(h.server.URL, "http://"))
	if err != nil {
		return nil, nil, err
	}
	_, _ = io.WriteString(c, "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(c)
	res, err := http.ReadResponse(in, nil) //nolint:bodyclose // it ends with the connection
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		_ = c.Close()
		return nil, nil, fmt.Errorf("no 101: %v %w", res, err)
	}
	return c, in, nil
}

const longText = 300 << 10

// halfCloseCases are the ways in which one side closes its direction first. Each returns an
// error when a side did not receive everything.
var halfCloseCases = map[string]func(ctx context.Context, start func(serve func(*net.TCPConn, *bufio.Reader)) *upgradeGateway) error{
	"the client first":   clientFirst("hello"),
	"the client at once": clientFirst(""),
	"the upstream first": upstreamFirst,
}

func clientFirst(says string) func(context.Context, func(func(*net.TCPConn, *bufio.Reader)) *upgradeGateway) error {
	return func(ctx context.Context, start func(func(*net.TCPConn, *bufio.Reader)) *upgradeGateway) error {
		h := start(func(c *net.TCPConn, in *bufio.Reader) {
			all, _ := io.ReadAll(in) // until the client closes its direction
			_, _ = io.WriteString(c, "got "+string(all)+strings.Repeat(".", longText))
		})
		c, in, err := h.upgrade(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, says)
		_ = c.CloseWrite()
		return readExactly(in, "got "+says+strings.Repeat(".", longText))
	}
}

func upstreamFirst(ctx context.Context, start func(func(*net.TCPConn, *bufio.Reader)) *upgradeGateway) error {
	got := make(chan string, 1)
	h := start(func(c *net.TCPConn, in *bufio.Reader) {
		_, _ = io.WriteString(c, "bye")
		_ = c.CloseWrite()
		all, _ := io.ReadAll(in)
		got <- string(all)
	})
	c, in, err := h.upgrade(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	err = readExactly(in, "bye")
	_, _ = io.WriteString(c, strings.Repeat(".", longText))
	_ = c.CloseWrite()
	select {
	case all := <-got:
		if len(all) != longText {
			err = errors.Join(err, fmt.Errorf("the upstream got %d bytes of %d", len(all), longText))
		}
	case <-ctx.Done():
		err = errors.Join(err, errors.New("the upstream never saw the client's end"))
	}
	return err
}

// readExactly reads to a clean end, and returns an error for anything but want.
func readExactly(in io.Reader, want string) error {
	all, err := io.ReadAll(in)
	if err != nil || string(all) != want {
		return fmt.Errorf("the client got %d bytes of %d: %w", len(all), len(want), errors.Join(err, errors.New("cut")))
	}
	return nil
}

// One side of an upgraded connection may close its direction and still receives what the
// other one sends, through each layer, every pair of them, and all together.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	for _, names := range stacks() {
		stack := cmp.Or(strings.Join(names, " over "), "nothing")
		for way, run := range halfCloseCases {
			t.Run(way+"/"+stack, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var h *upgradeGateway
				err := run(ctx, func(up func(*net.TCPConn, *bufio.Reader)) *upgradeGateway {
					h = newUpgradeGateway(t, names, upgradeUpstream(t, up))
					return h
				})
				var problems []string
				if err != nil {
					problems = append(problems, err.Error())
				}
				expectNone(t, append(problems, awaitNone(func() []string {
					if h.calls.started.Load() == 1 && h.calls.ended.Load() == 1 {
						return nil
					}
					return []string{"the call did not end once"}
				})...))
			})
		}
	}
}
