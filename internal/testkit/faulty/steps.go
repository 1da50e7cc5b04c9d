package faulty

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"time"
)

// Step is a part of a response. After an error the connection is closed.
type Step func(c *conn) error

// conn is a connection from which a request was read.
type conn struct {
	net.Conn

	ctx context.Context //nolint:containedctx // the server's own life
	in  *bufio.Reader
}

// wait waits for d or until the server ends.
func (c *conn) wait(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// Say writes text.
func Say(text string) Step {
	return func(c *conn) error {
		_, err := io.WriteString(c, text)
		return err
	}
}

// Drip writes text in pieces of size bytes, with a pause before each.
func Drip(text string, size int, pause time.Duration) Step {
	return func(c *conn) error {
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if err := c.wait(pause); err != nil {
				return err
			}
			if err := Say(rest[:n])(c); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	}
}

// Repeat writes text again and again until the connection fails.
func Repeat(text string, pause time.Duration) Step {
	return func(c *conn) error {
		for {
			if err := Drip(text, len(text), pause)(c); err != nil {
				return err
			}
		}
	}
}

// Stall does nothing until the other side closes the connection.
func Stall() Step {
	return func(c *conn) error {
		_, _ = io.Copy(io.Discard, c.in)
		return errOver
	}
}

// Cut closes the connection.
func Cut() Step { return func(*conn) error { return errOver } }

// Reset closes the connection with a TCP reset.
func Reset() Step {
	return func(c *conn) error {
		if t, ok := c.Conn.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		return errOver
	}
}

// Head returns the head of a response with status 200 and a chunked body.
func Head(contentType string) string {
	return "HTTP/1.1 200 OK\r\nContent-Type: " + contentType + "\r\nTransfer-Encoding: chunked\r\n\r\n"
}

// Chunk returns text as one chunk of a body, or the end of the body if text is empty.
func Chunk(text string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(text), text) }

// Chunked returns a response with status 200 in which each part is a chunk.
func Chunked(contentType string, parts ...string) Response {
	a := Response{Say(Head(contentType))}
	for _, p := range parts {
		a = append(a, Say(Chunk(p)))
	}
	return append(a, Say(Chunk("")))
}

// Broken is like Chunked, with other steps in place of the end.
func Broken(contentType string, parts []string, then ...Step) Response {
	a := Chunked(contentType, parts...)
	return append(a[:len(a)-1], then...)
}

// Plain returns a whole response with that status line and header, as "Name: value\r\n".
func Plain(status, header, body string) Response {
	return Response{Say(fmt.Sprintf("HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s", status, header, len(body), body))}
}
