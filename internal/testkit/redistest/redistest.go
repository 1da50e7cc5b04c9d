// Package redistest starts real Redis servers for tests, on loopback and until the test
// ends. Without a redis-server on the machine the test is skipped, or fails when
// GINFER_REQUIRE_REDIS is 1, as in CI.
package redistest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/need"
)

// Server is a redis-server process.
type Server struct {
	// Addr is the server's host:port. A Restart keeps it.
	Addr string

	tb      testing.TB
	dir     string
	options func(s *Server) []string
	cmd     *exec.Cmd
	exited  chan struct{}
}

// Start starts a server with additional options, such as "--appendonly", "yes".
func Start(tb testing.TB, options ...string) *Server {
	tb.Helper()
	return start(tb, func(s *Server) []string {
		own := []string{"--port", s.port(), "--bind", host, "--dir", s.dir, "--save", "", "--logfile", filepath.Join(s.dir, "log")}
		return append(own, options...)
	})
}

const host = "127.0.0.1"

// start starts a server on a free port. It retries because another process may take
// the port first.
func start(tb testing.TB, options func(*Server) []string) *Server {
	tb.Helper()
	s := &Server{tb: tb, dir: tb.TempDir(), options: options}
	tb.Cleanup(s.Kill)
	var err error
	for range 5 {
		s.Addr = freeAddr(tb)
		if err = s.run(); err == nil {
			return s
		}
	}
	tb.Fatal(err)
	return nil
}

func (s *Server) port() string { return s.Addr[strings.LastIndexByte(s.Addr, ':')+1:] }

// freeAddr returns a free address. A cluster also uses the port plus 10000.
func freeAddr(tb testing.TB) string {
	tb.Helper()
	for range 1000 {
		ln, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", host+":0")
		if err != nil {
			tb.Fatal(err)
		}
		port := ln.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // a TCP listener's
		_ = ln.Close()
		if port < 55536 {
			return net.JoinHostPort(host, strconv.Itoa(port))
		}
	}
	tb.Fatal("no free port below 55536")
	return ""
}

// Restart starts a killed server again, with its data on disk.
func (s *Server) Restart() {
	s.tb.Helper()
	if err := s.run(); err != nil {
		s.tb.Fatal(err)
	}
}

// run starts the process and waits until it responds.
func (s *Server) run() error {
	s.cmd = exec.CommandContext(s.tb.Context(), binary(s.tb), s.options(s)...)
	s.cmd.SysProcAttr = dieWithParent()
	if err := s.cmd.Start(); err != nil {
		return err
	}
	cmd, exited := s.cmd, make(chan struct{})
	s.exited = exited
	go func() {
		_ = cmd.Wait() // it was killed, most likely
		close(exited)
	}()
	err := await(func() error {
		select {
		case <-exited:
			return errExited
		default:
		}
		_, err := s.Do("PING")
		return err
	})
	if err != nil {
		s.Kill()
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		return fmt.Errorf("redis-server: %w\n%s", err, log)
	}
	return nil
}

var errExited = errors.New("the process has exited")

func binary(tb testing.TB) string {
	tb.Helper()
	path, err := exec.LookPath("redis-server")
	if err == nil {
		return path
	}
	need.Missing(tb, "GINFER_REQUIRE_REDIS", "redis-server is not installed")
	return ""
}

// Kill ends the server at once, like a crash. Further calls do nothing.
func (s *Server) Kill() {
	if s.exited == nil { // it never started
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// Await waits until check returns no error, with a timeout that is generous even on a
// busy machine.
func Await(tb testing.TB, what string, check func() error) {
	tb.Helper()
	if err := await(check); err != nil {
		tb.Fatalf("not in time: %s: %v", what, err)
	}
}

func await(check func() error) (err error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-tick.C {
		if err = check(); err == nil || errors.Is(err, errExited) {
			return err
		}
	}
	return err
}
