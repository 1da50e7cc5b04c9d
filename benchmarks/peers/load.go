package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// request is what the load sends: a chat completion, streamed if it wants events, with a prompt of
// so many bytes.
func request(model string, events, prompt int) []byte {
	option := ""
	if events > 0 {
		option = `"stream":true,"stream_options":{"include_usage":true},`
	}
	body := fmt.Sprintf(`{"model":%q,%s"temperature":0.7,"max_tokens":%d,"messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":%q}]}`, model, option, max(1, events), strings.Repeat("lorem ipsum dolor sit amet, ", prompt/28+1)[:prompt])
	return fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nUser-Agent: peers\r\nAccept: application/json\r\nAuthorization: Bearer %s\r\nX-Api-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", token(), secret, len(body), body)
}

// sent is what a load has done.
type sent struct {
	requests, failed int64
	delays           []time.Duration // of each request or event, sorted
	err              error           // the first
}

func (s *sent) quantile(q float64) time.Duration {
	if len(s.delays) == 0 {
		return 0
	}
	return s.delays[min(len(s.delays)-1, int(q*float64(len(s.delays))))]
}

// merge collects what connections have done.
type merge struct {
	sync.Mutex

	sent
}

func (m *merge) add(delays []time.Duration, requests int64, err error) {
	m.Lock()
	defer m.Unlock()
	m.delays = append(m.delays, delays...)
	m.requests += requests
	if err != nil {
		m.failed++
		m.err = cmpErr(m.err, err)
	}
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (m *merge) sorted() *sent {
	slices.Sort(m.delays)
	return &m.sent
}

// longest bounds the use of a connection, so that a proxy that hangs ends the comparison.
const longest = 10 * time.Minute

// overConnections runs a function for each of n connections.
func overConnections(address string, n int, use func(i int, conn net.Conn) ([]time.Duration, int64, error)) *sent {
	var m merge
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				m.add(nil, 0, err)
				return
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(longest))
			m.add(use(i, conn))
		})
	}
	all.Wait()
	return m.sorted()
}

// full sends as many requests as the connections can take, for a time.
func full(address string, req []byte, d time.Duration) *sent {
	var over atomic.Bool
	time.AfterFunc(d, func() { over.Store(true) })
	return overConnections(address, connections, func(_ int, conn net.Conn) (delays []time.Duration, n int64, err error) {
		r := bufio.NewReaderSize(conn, 8<<10)
		for !over.Load() {
			if err := exchange(conn, r, req); err != nil {
				return nil, n, err
			}
			n++
		}
		return nil, n, nil
	})
}

// paced sends requests at a fixed rate. A request that has to wait for the one before it on its
// connection is late from its scheduled time on.
func paced(address string, req []byte, connections, rate int, d time.Duration) *sent {
	begun := time.Now()
	interval := time.Duration(connections) * time.Second / time.Duration(rate)
	return overConnections(address, connections, func(i int, conn net.Conn) (delays []time.Duration, n int64, err error) {
		r := bufio.NewReaderSize(conn, 8<<10)
		next := begun.Add(interval * time.Duration(i) / time.Duration(connections))
		for next.Sub(begun) < d {
			from := next
			if wait := time.Until(next); wait > 0 {
				time.Sleep(wait)
				from = time.Now() // the timer's own delay is not the proxy's
			}
			if err := exchange(conn, r, req); err != nil {
				return delays, n, err
			}
			delays = append(delays, time.Since(from))
			n++
			next = next.Add(interval)
		}
		return delays, n, nil
	})
}

// exchange sends a request and reads its response.
func exchange(conn net.Conn, r *bufio.Reader, req []byte) error {
	if _, err := conn.Write(req); err != nil {
		return err
	}
	length, err := readResponse(r)
	if err != nil {
		return err
	}
	if length < 0 {
		return discardChunks(r)
	}
	_, err = r.Discard(length)
	return err
}

func readResponse(r *bufio.Reader) (length int, err error) {
	status, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200")) {
		rest := make([]byte, 600)
		n, _ := r.Read(rest)
		return 0, fmt.Errorf("%w: %s%s", errStatus, status, rest[:n])
	}
	return readHead(r)
}

func discardChunks(r *bufio.Reader) error {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		var size int
		if _, err := fmt.Sscanf(string(line), "%x", &size); err != nil {
			return err
		}
		if _, err := r.Discard(size + 2); err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
	}
}

// streams opens n streams within a few seconds and reads them to their end. The delays are those of
// events, from the model server to the client.
func streams(address string, n, events int) *sent {
	req := request("demo", events, 1000)
	return overConnections(address, n, func(i int, conn net.Conn) (delays []time.Duration, read int64, err error) {
		time.Sleep(time.Duration(i) * 2 * time.Second / time.Duration(n)) // opened over two seconds
		if _, err := conn.Write(req); err != nil {
			return nil, 0, err
		}
		r := bufio.NewReaderSize(conn, 2<<10)
		if _, err := readResponse(r); err != nil {
			return nil, 0, err
		}
		r = bufio.NewReaderSize(httputil.NewChunkedReader(r), 2<<10) // a chunk may end within an event
		delays = make([]time.Duration, 0, events)
		for done := false; !done; {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return delays, int64(len(delays)), err
			}
			if _, rest, ok := bytes.Cut(line, []byte(stamp)); ok {
				delays = append(delays, time.Since(time.Unix(0, number(rest))))
			}
			done = bytes.HasPrefix(line, []byte("data: [DONE]"))
		}
		if len(delays) != events {
			err = fmt.Errorf("%w: %d events", io.ErrUnexpectedEOF, len(delays))
		}
		return delays, int64(len(delays)), err
	})
}

// number reads leading digits.
func number(text []byte) (n int64) {
	for _, c := range text {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// idle opens n streams that stay silent after an event. It returns a function that closes them.
func idle(address string, n int) (stop func(), err error) {
	req := request("idle", 1, 1000)
	var conns []net.Conn
	stop = func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
	for range n {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return stop, err
		}
		conns = append(conns, conn)
		if _, err := conn.Write(req); err != nil {
			return stop, err
		}
		r := bufio.NewReaderSize(conn, 1<<10)
		if _, err := readResponse(r); err != nil {
			return stop, err
		}
		if _, err := r.ReadSlice(':'); err != nil { // of the event
			return stop, err
		}
	}
	return stop, nil
}
