package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

const betweenEvents = 100 * time.Millisecond

// upstream is a model server that costs little: it reads requests without parsing JSON and sends
// prepared responses. It listens on each address.
func upstream(addresses []string) error {
	failed := make(chan error)
	for _, address := range addresses {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		go func() { failed <- accept(listener, serveModel) }()
	}
	return <-failed
}

func accept(listener net.Listener, serve func(net.Conn) error) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = conn.Close() }()
			_ = serve(conn)
		}()
	}
}

// completion is a response of 1 KB.
func completion() []byte {
	body := fmt.Sprintf(`{"id":"chatcmpl-BfQz7","object":"chat.completion","created":1750000000,"model":"demo","choices":[{"index":0,"message":{"role":"assistant","content":%q,"refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":180,"completion_tokens":160,"total_tokens":340}}`, strings.Repeat("word ", 150))
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nDate: Mon, 30 Nov 2026 12:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

const streamHead = "HTTP/1.1 200 OK\r\nDate: Mon, 30 Nov 2026 12:00:00 GMT\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"

// stamp precedes the time of an event in nanoseconds.
const stamp = `"sent":`

func event() string {
	data := fmt.Sprintf(`data: {"id":"chatcmpl-BfQz7","object":"chat.completion.chunk","created":1750000000,%s%019d,"model":"demo","choices":[{"index":0,"delta":{"content":"word "},"logprobs":null,"finish_reason":null}]}`+"\n\n", stamp, time.Now().UnixNano())
	return chunk(data)
}

func chunk(data string) string {
	return strconv.FormatInt(int64(len(data)), 16) + "\r\n" + data + "\r\n"
}

const lastEvents = `data: {"id":"chatcmpl-BfQz7","object":"chat.completion.chunk","created":1750000000,"model":"demo","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n" +
	`data: {"id":"chatcmpl-BfQz7","object":"chat.completion.chunk","created":1750000000,"model":"demo","choices":[],"usage":{"prompt_tokens":180,"completion_tokens":100,"total_tokens":280}}` + "\n\ndata: [DONE]\n\n"

func serveModel(conn net.Conn) error {
	r, whole := bufio.NewReaderSize(conn, 4<<10), completion()
	opening := make([]byte, 512)
	for {
		length, err := readHead(r)
		if err != nil {
			return err
		}
		n, err := io.ReadFull(r, opening[:min(length, len(opening))])
		if err != nil {
			return err
		}
		if _, err := r.Discard(length - n); err != nil {
			return err
		}
		switch {
		case bytes.Contains(opening[:n], []byte(`"idle"`)):
			err = sendIdle(conn, r)
		case bytes.Contains(opening[:n], []byte(`"stream":true`)):
			_, tokens, _ := bytes.Cut(opening[:n], []byte(`"max_tokens":`))
			err = sendStream(conn, int(number(tokens)))
		default:
			_, err = conn.Write(whole)
		}
		if err != nil {
			return err
		}
	}
}

// sendIdle sends an event, and nothing until the other side closes.
func sendIdle(conn net.Conn, r *bufio.Reader) error {
	if _, err := io.WriteString(conn, streamHead+event()); err != nil {
		return err
	}
	_, err := r.ReadByte()
	return err
}

func sendStream(conn net.Conn, events int) error {
	if _, err := io.WriteString(conn, streamHead); err != nil {
		return err
	}
	tick := time.NewTicker(betweenEvents)
	defer tick.Stop()
	for range events {
		if _, err := io.WriteString(conn, event()); err != nil {
			return err
		}
		<-tick.C
	}
	_, err := io.WriteString(conn, chunk(lastEvents)+"0\r\n\r\n")
	return err
}

// readHead reads a request's head, or a response's. It returns the length of the body, or -1 for
// one in chunks.
func readHead(r *bufio.Reader) (length int, err error) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			return length, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			length = -1
		}
	}
}

var errStatus = errors.New("not 200")
