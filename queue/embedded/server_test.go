package embedded_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs a server until stop is called, or the test ends.
func run(t *testing.T, cfg embedded.Config) (s *embedded.Server, stop func()) {
	t.Helper()
	s, err := embedded.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			assert.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	return s, stop
}

func TestConfig(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		cfg  embedded.Config
		want string
	}{
		{"no directory", embedded.Config{}, "Dir is required"},
		{"negative", embedded.Config{Dir: "x", MaxBytes: -1}, "must not be negative"},
		{"no address", embedded.Config{Dir: "x", Listen: "x"}, "Config.Listen"},
		{"open to all", embedded.Config{Dir: "x", Listen: "0.0.0.0:4222"}, "Secret is required"},
		{"open to all by no host", embedded.Config{Dir: "x", Listen: ":4222"}, "Secret is required"},
		{"open to all by name", embedded.Config{Dir: "x", Listen: "example.com:4222"}, "Secret is required"},
		{"half a cluster", embedded.Config{Dir: "x", Cluster: &embedded.Cluster{Listen: "127.0.0.1:1"}}, "a cluster needs"},
		{"an open cluster", embedded.Config{Dir: "x", Listen: "127.0.0.1:1", Cluster: &embedded.Cluster{Server: "a", Listen: "10.0.0.1:1", Peers: []string{"x"}}}, "Cluster.Listen"},
	}
	for _, tt := range tests {
		_, err := embedded.New(tt.cfg)
		require.ErrorContains(t, err, tt.want, tt.name)
	}
	_, err := embedded.New(embedded.Config{Dir: "x", Listen: "0.0.0.0:4222", Secret: "s", TLS: &tls.Config{}})
	assert.NoError(t, err)
}

// Acknowledged data is there when the next server starts.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 3 {
		s, stop := run(t, embedded.Config{Dir: dir, SyncAlways: i == 1})
		nc, err := s.Connect(t.Context())
		require.NoError(t, err)
		js, err := jetstream.New(nc)
		require.NoError(t, err)
		kv, err := js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"})
		require.NoError(t, err)
		if i > 0 {
			_, err = kv.Get(t.Context(), "k")
			require.NoError(t, err)
		}
		_, err = kv.Put(t.Context(), "k", []byte("v"))
		require.NoError(t, err)
		assert.Empty(t, s.Address(), "there is no port")
		nc.Close()
		stop()
	}
}

func TestDirectoryIsInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := run(t, embedded.Config{Dir: dir})
	nc, err := s.Connect(t.Context())
	require.NoError(t, err)
	nc.Close()
	other, err := embedded.New(embedded.Config{Dir: dir})
	require.NoError(t, err)
	require.ErrorIs(t, other.Run(t.Context()), embedded.ErrInUse)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = other.Connect(ctx)
	require.ErrorIs(t, err, embedded.ErrNotReady)
}

// The server waits for its clients, up to DrainTimeout.
func TestGrace(t *testing.T) {
	t.Parallel()
	s, stop := run(t, embedded.Config{Dir: t.TempDir(), DrainTimeout: 100 * time.Millisecond})
	nc, err := s.Connect(t.Context())
	require.NoError(t, err)
	defer nc.Close()
	begin := time.Now()
	stop()
	assert.GreaterOrEqual(t, time.Since(begin), 100*time.Millisecond)
}

// With a port, other processes can connect if they have the secret.
func TestSecret(t *testing.T) {
	t.Parallel()
	var warned []string
	s, _ := run(t, embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Secret: "s3cret", Logf: func(f string, _ ...any) { warned = append(warned, f) }})
	nc, err := s.Connect(t.Context())
	require.NoError(t, err)
	defer nc.Close()
	_, err = nats.Connect("nats://" + s.Address())
	require.ErrorIs(t, err, nats.ErrAuthorization)
	remote, err := nats.Connect("nats://"+s.Address(), nats.UserInfo("ginfer", "s3cret"))
	require.NoError(t, err)
	remote.Close()
}

// Three servers form a cluster, which survives the loss of one.
func TestCluster(t *testing.T) {
	t.Parallel()
	addresses := make([]string, 6)
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		addresses[i] = l.Addr().String()
		require.NoError(t, l.Close())
	}
	clients, routes := addresses[:3], addresses[3:]
	stops := make([]func(), 3)
	servers := make([]*embedded.Server, 3)
	for i := range servers {
		servers[i], stops[i] = run(t, embedded.Config{
			Dir: t.TempDir(), Listen: clients[i], Secret: "s3cret", DrainTimeout: time.Millisecond,
			Cluster: &embedded.Cluster{Server: fmt.Sprint("n", i), Listen: routes[i], Peers: routes},
		})
	}
	for _, s := range servers {
		nc, err := s.Connect(t.Context()) // once it runs
		require.NoError(t, err)
		nc.Close()
	}
	nc, err := nats.Connect("nats://"+clients[0]+",nats://"+clients[1], nats.UserInfo("ginfer", "s3cret"), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}, Replicas: 3})
		return err == nil
	}, time.Minute, 20*time.Millisecond, "a leader is elected")
	publish := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := js.Publish(ctx, "s", []byte("x"))
		return err == nil
	}
	require.Eventually(t, publish, time.Minute, 20*time.Millisecond)
	stops[2]()
	require.Eventually(t, publish, time.Minute, 20*time.Millisecond, "two of three are enough")
	assert.Equal(t, clients[0], servers[0].Address())
}

// Run can be called once, and Connect fails when the server has ended.
func TestRunOnce(t *testing.T) {
	t.Parallel()
	s, stop := run(t, embedded.Config{Dir: t.TempDir()})
	nc, err := s.Connect(t.Context())
	require.NoError(t, err)
	assert.Empty(t, s.Address(), "no port")
	nc.Close()
	stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = s.Connect(ctx)
	require.Error(t, err)
}

// A directory that can't be used is an error of Run, not a crash.
func TestDirectory(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	s, err := embedded.New(embedded.Config{Dir: filepath.Join(file, "below")})
	require.NoError(t, err)
	require.Error(t, s.Run(t.Context()))
	nested := filepath.Join(t.TempDir(), "a", "b")
	s, _ = run(t, embedded.Config{Dir: nested})
	nc, err := s.Connect(t.Context())
	require.NoError(t, err)
	nc.Close()
	assert.DirExists(t, nested, "it is created")
}
