package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/idle"
	"github.com/ginfer/ginfer/internal/upgrade"
)

// tunnel joins the client's and the upstream's connection after a 101.
func (x *delivery) tunnel() {
	res := x.res
	defer func() { _ = res.Body.Close() }()
	upstream, ok := res.Body.(io.ReadWriteCloser)
	if !ok || !x.upgrades || !strings.EqualFold(res.Header.Get("Upgrade"), upgrade.WebSocket) {
		err := upstreamError(fmt.Errorf("switched to %q, WebSocket requested: %v", res.Header.Get("Upgrade"), x.upgrades))
		x.attempt.Latest().Note(exchange.Verdict{Outcome: exchange.Failure, Blame: exchange.Endpoint, Err: err})
		x.fail(err)
		return
	}
	client, err := x.hijack()
	if err != nil {
		x.settle(fault.Join(ErrClientClosed, err))
		_ = x.c.Error(err)
		return
	}
	t := newTunnel(client, upstream, x.timeouts.Tunnel)
	x.p.tunnels.add(t)
	defer x.p.tunnels.remove(t)
	stop := context.AfterFunc(x.attempt.Latest().Context(), t.close)
	defer stop()
	x.bytes = t.run()
	x.outcome, x.err = Success, nil
}

// client is a hijacked connection with the bytes that were already read from it.
type client struct {
	io.Reader
	net.Conn
}

func (c client) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// hijack takes over the client's connection and sends the 101 on it.
func (x *delivery) hijack() (*client, error) {
	x.early.stop()
	h := x.c.Writer.Header()
	copyHeader(h, x.res.Header)
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", upgrade.WebSocket)
	x.committed = true
	x.c.Writer.WriteHeader(http.StatusSwitchingProtocols) // for later readers of the writer's status
	conn, rw, err := http.NewResponseController(x.c.Writer).Hijack()
	if err != nil {
		return nil, fmt.Errorf("proxy: take over the connection: %w", err)
	}
	_ = conn.SetDeadline(time.Time{})
	head := http.Response{StatusCode: http.StatusSwitchingProtocols, ProtoMajor: 1, ProtoMinor: 1, Header: h}
	if err = fault.Join(head.Write(rw), rw.Flush()); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("proxy: send 101: %w", err)
	}
	// Bytes that the server has read come first. The rest is read from conn: reading through rw
	// would cancel the request at the client's end, and the tunnel with it, while the upstream
	// still sends.
	before, _ := rw.Peek(rw.Reader.Buffered())
	return &client{io.MultiReader(bytes.NewReader(bytes.Clone(before)), conn), conn}, nil
}

// tunnel copies both ways until both sides have ended, one has broken, or nothing moved for idle.
type tunnel struct {
	client   *client
	upstream io.ReadWriteCloser
	idle     time.Duration
	timer    *time.Timer
	once     sync.Once
}

func newTunnel(c *client, upstream io.ReadWriteCloser, idle time.Duration) *tunnel {
	t := &tunnel{client: c, upstream: upstream, idle: idle}
	if idle > 0 {
		t.timer = time.AfterFunc(idle, t.close)
	}
	return t
}

func (t *tunnel) close() {
	t.once.Do(func() {
		_ = t.client.Close()
		_ = t.upstream.Close()
	})
}

// run returns the number of bytes sent to the client.
func (t *tunnel) run() int64 {
	var wg sync.WaitGroup
	wg.Go(func() { t.copy(t.upstream, t.client, t.upstream) })
	n := t.copy(t.client, t.upstream, t.client.Conn)
	wg.Wait()
	if t.timer != nil {
		t.timer.Stop()
	}
	t.close()
	return n
}

// copy copies one direction and passes its end on.
func (t *tunnel) copy(dst io.Writer, src io.Reader, end any) int64 {
	n, err := io.Copy(dst, progress{src, t})
	half, ok := end.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		t.close()
	}
	return n
}

// progress restarts the idle limit with every read.
type progress struct {
	io.Reader
	t *tunnel
}

func (p progress) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if p.t.timer != nil && n > 0 {
		p.t.timer.Reset(p.t.idle)
	}
	return n, err
}

// tunnels tracks the upgraded connections of a Proxy, which http.Server.Shutdown does not wait
// for.
type tunnels struct {
	idle idle.Gate
	mu   sync.Mutex
	open map[*tunnel]struct{}
}

func (ts *tunnels) add(t *tunnel) {
	ts.idle.Add()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.open == nil {
		ts.open = make(map[*tunnel]struct{})
	}
	ts.open[t] = struct{}{}
}

func (ts *tunnels) remove(t *tunnel) {
	defer ts.idle.Done()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.open, t)
}

func (ts *tunnels) closeAll() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for t := range ts.open {
		go t.close() // Close of a TLS connection may block for its close_notify
	}
}

// Drain waits until no upgraded connection is open. When ctx ends first, it closes the
// remaining ones and returns an error. Other exchanges need no draining: http.Server.Shutdown
// waits for them.
func (p *Proxy) Drain(ctx context.Context) error {
	if err := p.tunnels.idle.Wait(ctx); err != nil {
		p.tunnels.closeAll()
		return fmt.Errorf("proxy: upgraded connections closed: %w", err)
	}
	return nil
}
