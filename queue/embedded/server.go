package embedded

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// The errors of a Server.
var (
	// ErrInUse is returned when another process uses the directory.
	ErrInUse = errors.New("embedded: the directory is in use")
	// ErrNotReady is returned when the server did not start in time.
	ErrNotReady = errors.New("embedded: the server is not ready")
)

// Config configures a Server. Dir is required.
type Config struct {
	// Dir is the directory of the data, which is created if necessary. One process can use
	// it at a time.
	Dir string
	// SyncAlways syncs each write to disk. Default: false, data is synced every
	// SyncInterval.
	SyncAlways bool
	// SyncInterval is the interval at which data is synced to disk. Default: 2 min.
	SyncInterval time.Duration
	// MaxBytes bounds the data in bytes. Default: three quarters of the free space.
	MaxBytes int64
	// Listen is the address for clients in other processes, such as "10.0.0.1:4222".
	// Default: none.
	Listen string
	// Cluster joins other servers. It requires Listen. Default: none.
	Cluster *Cluster
	// Secret is the password of clients and other servers; the user is "ginfer". It is
	// required when Listen or Cluster.Listen is not a loopback address.
	Secret string
	// TLS configures TLS for Listen and Cluster. Default: plaintext.
	TLS *tls.Config
	// DrainTimeout is how long the end of Run waits for the queue. Default: 30 s.
	DrainTimeout time.Duration
	// Logf is called with the server's errors and warnings. Default: none.
	Logf func(format string, args ...any)
}

// Cluster configures the other servers.
type Cluster struct {
	// Server is the name of this server, which must be unique. Name is that of the
	// cluster. Default: "ginfer".
	Server, Name string
	// Listen is the address for the other servers.
	Listen string
	// Peers are the Listen addresses of all servers.
	Peers []string
}

// user is the user name that belongs to Secret.
const user = "ginfer"

// Server is a NATS server in this process. It is safe for concurrent use.
type Server struct {
	cfg    Config
	opts   natsserver.Options
	ready  chan struct{}
	once   sync.Once // closes ready
	broken atomic.Bool

	mu    sync.Mutex
	srv   *natsserver.Server
	conns []*nats.Conn
}

// New returns a Server, which [Server.Run] starts. The error joins all faults of cfg.
func New(cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = 30 * time.Second
	}
	s := &Server{cfg: cfg, ready: make(chan struct{})}
	s.opts = natsserver.Options{
		ServerName: "ginfer-" + strconv.Itoa(os.Getpid()), DontListen: cfg.Listen == "", NoSigs: true,
		JetStream: true, StoreDir: cfg.Dir, SyncAlways: cfg.SyncAlways, SyncInterval: cfg.SyncInterval, JetStreamMaxStore: cfg.MaxBytes,
		NoSystemAccount: cfg.Cluster == nil,
	}
	if cfg.Listen != "" {
		s.opts.Host, s.opts.Port = split(cfg.Listen)
		s.opts.TLSConfig = cfg.TLS
	}
	if cfg.Secret != "" {
		s.opts.Username, s.opts.Password = user, cfg.Secret
	}
	if c := cfg.Cluster; c != nil {
		s.join(c)
	}
	return s, nil
}

func (cfg *Config) check() error {
	var faults []error
	if cfg.Dir == "" {
		faults = append(faults, errors.New("embedded: Config.Dir is required"))
	}
	if cfg.MaxBytes < 0 || cfg.SyncInterval < 0 || cfg.DrainTimeout < 0 {
		faults = append(faults, errors.New("embedded: MaxBytes, SyncInterval and DrainTimeout must not be negative"))
	}
	if cfg.Listen != "" {
		faults = append(faults, cfg.checkAddress("Listen", cfg.Listen))
	}
	if c := cfg.Cluster; c != nil {
		if c.Server == "" || len(c.Peers) == 0 || cfg.Listen == "" {
			faults = append(faults, errors.New("embedded: a cluster needs Config.Listen, Cluster.Server, Listen and Peers"))
		}
		faults = append(faults, cfg.checkAddress("Cluster.Listen", c.Listen))
	}
	return fault.Join(faults...)
}

func (cfg *Config) checkAddress(field, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("embedded: Config.%s: %w", field, err)
	}
	if ip := net.ParseIP(host); cfg.Secret == "" && (ip == nil || !ip.IsLoopback()) && host != "localhost" {
		return fmt.Errorf("embedded: Config.%s %q can be reached from outside: Config.Secret is required", field, address)
	}
	return nil
}

func split(address string) (string, int) {
	host, port, _ := net.SplitHostPort(address)
	n, err := strconv.Atoi(port)
	if err != nil || n == 0 {
		n = natsserver.RANDOM_PORT
	}
	return host, n
}

func (s *Server) join(c *Cluster) {
	o := &s.opts
	o.ServerName = c.Server
	o.Cluster.Name = c.Name
	if c.Name == "" {
		o.Cluster.Name = "ginfer"
	}
	o.Cluster.Host, o.Cluster.Port = split(c.Listen)
	o.Cluster.TLSConfig = s.cfg.TLS
	o.Cluster.Username, o.Cluster.Password = o.Username, o.Password
	for _, peer := range c.Peers {
		u := &url.URL{Scheme: "nats", Host: peer}
		if s.cfg.Secret != "" {
			u.User = url.UserPassword(user, s.cfg.Secret)
		}
		o.Routes = append(o.Routes, u)
	}
}

// readyWithin bounds the start. Recovering a lot of data takes time.
const readyWithin = 2 * time.Minute

// Run runs the server until ctx ends. It can be called once. A server that a full disk has
// stopped from storing is restarted as soon as there is room.
func (s *Server) Run(ctx context.Context) error {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	unlock, err := lock(filepath.Join(s.cfg.Dir, "lock"))
	if err != nil {
		return fmt.Errorf("embedded: %s: %w", s.cfg.Dir, err)
	}
	defer unlock()
	for {
		srv, err := s.start()
		if err != nil {
			return err
		}
		broken := s.watch(ctx, srv)
		if !broken {
			s.waitForClients()
		}
		srv.Shutdown()
		srv.WaitForShutdown()
		if !broken {
			return nil
		}
	}
}

// start starts the server and lets clients connect. A restart keeps its address.
func (s *Server) start() (*natsserver.Server, error) {
	srv, err := natsserver.NewServer(s.opts.Clone())
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	srv.SetLoggerV2(&logger{logf: s.cfg.Logf, broken: &s.broken}, false, false, false)
	s.broken.Store(false)
	srv.Start()
	if !srv.ReadyForConnections(readyWithin) {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, ErrNotReady
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.srv = srv
	if address, ok := srv.Addr().(*net.TCPAddr); ok && s.cfg.Listen != "" {
		s.opts.Port = address.Port
	}
	s.once.Do(func() { close(s.ready) })
	return srv, nil
}

// waitForClients waits until the queue has disconnected.
func (s *Server) waitForClients() {
	end := time.NewTimer(s.cfg.DrainTimeout)
	defer end.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for s.open() {
		select {
		case <-look.C:
		case <-end.C:
			return
		}
	}
}

func (s *Server) open() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if !c.IsClosed() {
			return true
		}
	}
	return false
}

// Connect waits until the server runs and returns an in-process connection. It is a
// queue.Config.Connect.
func (s *Server) Connect(ctx context.Context) (*nats.Conn, error) {
	select {
	case <-s.ready:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrNotReady, context.Cause(ctx))
	}
	opts := []nats.Option{nats.InProcessServer(s), nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond)}
	if s.cfg.Secret != "" {
		opts = append(opts, nats.UserInfo(user, s.cfg.Secret))
	}
	c, err := nats.Connect("", opts...)
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, c)
	return c, nil
}

// Address returns the address of Config.Listen, once the server runs.
func (s *Server) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv == nil || s.cfg.Listen == "" {
		return ""
	}
	return s.srv.Addr().String()
}
