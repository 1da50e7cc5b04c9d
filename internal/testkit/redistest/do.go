package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Do sends a command and returns the reply; a list as one line per element.
func (s *Server) Do(args ...string) (string, error) {
	conn, err := new(net.Dialer).DialContext(s.tb.Context(), "tcp", s.Addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // of a frozen server
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return "", err
	}
	return readReply(bufio.NewReader(conn))
}

// MustDo is like Do but fails the test on an error.
func (s *Server) MustDo(args ...string) string {
	s.tb.Helper()
	out, err := s.Do(args...)
	if err != nil {
		s.tb.Fatalf("redis: %q: %v", args, err)
	}
	return out
}

// readReply reads a reply of RESP 2.
func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, rest := line[0], strings.TrimSpace(line[1:])
	switch kind {
	case '-':
		return "", errors.New(rest)
	case '$':
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 {
			return "", err
		}
		text := make([]byte, n+len("\r\n"))
		_, err = io.ReadFull(r, text)
		return string(text[:n]), err
	case '*':
		return readList(r, rest)
	}
	return rest, nil
}

func readList(r *bufio.Reader, length string) (string, error) {
	n, err := strconv.Atoi(length)
	if err != nil {
		return "", err
	}
	var all []string
	for range n {
		one, err := readReply(r)
		if err != nil {
			return "", err
		}
		all = append(all, one)
	}
	return strings.Join(all, "\n"), nil
}
