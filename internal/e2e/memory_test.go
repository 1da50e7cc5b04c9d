package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	// idleBytes is the most memory that an idle stream may use with every stage on, including
	// the buffers and stacks of its connections. The aim is 50 KiB.
	idleBytes   = 72 << 10
	idleStreams = 400
	idleEvent   = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n"
	idleBody    = `{"model":"m","temperature":1,"stream":true,"messages":[{"role":"user","content":"hello"}]}`
)

// startIdle is an upstream of streams that stop after their first event. It uses very little
// memory.
func startIdle(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	head := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				if readPast(conn, "}]}") != nil {
					return
				}
				_, _ = io.WriteString(conn, head+idleEvent)
				_, _ = conn.Read(make([]byte, 1)) // until the gateway closes it
			})
		}
	})
	return "http://" + l.Addr().String()
}

// readPast reads until all parts have been received.
func readPast(conn net.Conn, parts ...string) error {
	b := make([]byte, 2048) // on the heap, as stacks do not shrink at once
	for n := 0; ; {
		got, err := conn.Read(b[n:])
		if n += got; err != nil {
			return err
		}
		found := 0
		for _, p := range parts {
			if bytes.Contains(b[:n], []byte(p)) {
				found++
			}
		}
		if found == len(parts) {
			return nil
		}
	}
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC() // the second one empties sync.Pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

func TestMemoryOfIdleStreams(t *testing.T) { //nolint:paralleltest // it measures memory
	if raced {
		t.Skip("the race detector has memory of its own")
	}
	upstream := startIdle(t)
	g := everyStage(t, balance.LeastRequest(), upstream)
	var conns []net.Conn
	open := func(n int, address string) {
		for range n {
			conn, err := net.Dial("tcp", address)
			require.NoError(t, err)
			conns = append(conns, conn)
			require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
			_, err = fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer alice\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(idleBody), idleBody)
			require.NoError(t, err)
			require.NoError(t, readPast(conn, `"hi"`))
		}
	}
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	cost := func(address string) float64 {
		open(20, address) // fills pools and tables
		before := inUse()
		open(idleStreams, address)
		return float64(inUse()-before) / idleStreams
	}
	own := cost(strings.TrimPrefix(upstream, "http://")) // of the test's client and upstream
	each := cost(g.Listener.Addr().String()) - own
	t.Logf("%.1f KiB a stream, and %.1f of the test", each/1024, own/1024)
	assert.Less(t, each, float64(idleBytes))
}
