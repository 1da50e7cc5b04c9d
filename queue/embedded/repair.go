package embedded

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

const (
	// repairEvery is how often a server that can't store is examined.
	repairEvery = time.Second
	// enough is the room, in bytes, with which a restart is worth while.
	enough = 1 << 20
)

// watch returns true when the server has to be restarted, and false when ctx ends. NATS does
// not write to a stream again after a write has failed, or disables JetStream. Until there is
// room it goes on to serve reads.
func (s *Server) watch(ctx context.Context, srv *natsserver.Server) (broken bool) {
	look := time.NewTicker(repairEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-look.C:
		}
		if (s.broken.Load() || !srv.JetStreamEnabled()) && s.hasRoom() {
			return true
		}
	}
}

// hasRoom writes a file, which is what failed.
func (s *Server) hasRoom() bool {
	name := filepath.Join(s.cfg.Dir, "room")
	defer func() { _ = os.Remove(name) }()
	return os.WriteFile(name, make([]byte, enough), 0o600) == nil
}

// InProcessConn connects to the server that runs now. It is for nats.InProcessServer.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	srv := s.srv
	s.mu.Unlock()
	if srv == nil {
		return nil, ErrNotReady
	}
	return srv.InProcessConn()
}

// logger passes on errors and warnings, and observes whether the server can store.
type logger struct {
	logf   func(format string, args ...any) // nil: none
	broken *atomic.Bool
}

func (l *logger) Noticef(string, ...any)       {}
func (l *logger) Debugf(string, ...any)        {}
func (l *logger) Tracef(string, ...any)        {}
func (l *logger) Warnf(f string, args ...any)  { l.log("warning: "+f, args) }
func (l *logger) Fatalf(f string, args ...any) { l.log("fatal: "+f, args) }

// Errorf also reads the error: the server has no other sign of a stream that failed.
func (l *logger) Errorf(f string, args ...any) {
	if strings.Contains(strings.ToLower(f), "critical write error") {
		l.broken.Store(true)
	}
	l.log("error: "+f, args)
}

func (l *logger) log(f string, args []any) {
	if l.logf != nil {
		l.logf(f, args...)
	}
}
