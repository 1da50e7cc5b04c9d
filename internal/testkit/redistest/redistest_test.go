package redistest_test

import (
	"runtime"
	"testing"

	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRestartKeepsAddressAndFiles(t *testing.T) {
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	require.Equal(t, "OK", s.MustDo("SET", "k", "a\r\nb"))
	addr := s.Addr
	s.Kill()
	_, err := s.Do("PING")
	require.Error(t, err)
	s.Restart()
	require.Equal(t, addr, s.Addr)
	require.Equal(t, "a\r\nb", s.MustDo("GET", "k"))
	require.Empty(t, s.MustDo("GET", "unknown"))
	require.Equal(t, "k", s.MustDo("KEYS", "*"))
	_, err = s.Do("NOSUCH")
	require.ErrorContains(t, err, "unknown command")
}

func TestFreezeAndThaw(t *testing.T) {
	s := redistest.Start(t)
	s.MustDo("SET", "k", "v")
	s.Freeze()
	s.Thaw()
	require.Equal(t, "v", s.MustDo("GET", "k"))
	s.Freeze() // and is killed all the same
}

func TestClusterHasEverySlot(t *testing.T) {
	nodes := redistest.StartCluster(t, 3)
	require.Len(t, nodes, 3)
	_, err := nodes[2].Do("SET", "a", "v") // slot 15495
	require.NoError(t, err)
	_, err = nodes[0].Do("SET", "a", "v")
	require.ErrorContains(t, err, "MOVED 15495 "+nodes[2].Addr)
}

func TestMissingServerSkipsOrFails(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for demand, want := range map[string]string{"": "skipped", "1": "fatal"} {
		t.Setenv("GINFER_REQUIRE_REDIS", demand)
		fake := &fakeTB{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			redistest.Start(fake)
		}()
		<-done
		require.Equal(t, want, fake.ended)
	}
}

// fakeTB records how a test ends.
type fakeTB struct {
	testing.TB
	ended string
}

func (f *fakeTB) Skip(...any)  { f.end("skipped") }
func (f *fakeTB) Fatal(...any) { f.end("fatal") }

func (f *fakeTB) end(how string) {
	f.ended = how
	runtime.Goexit()
}
