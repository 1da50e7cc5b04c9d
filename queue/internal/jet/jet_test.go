package jet_test

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a store in a directory until close is called, or the test ends.
func open(t *testing.T, dir string) (s *jet.Store, js jetstream.JetStream, closeAll func()) {
	t.Helper()
	server, err := embedded.New(embedded.Config{Dir: dir})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	nc, err := server.Connect(t.Context())
	require.NoError(t, err)
	cfg := jet.Config{
		Name: "t", Replicas: 1, MaxTasks: 10, MaxPerLane: 4, MaxBytes: -1, Lease: 500 * time.Millisecond, Window: 2 * time.Minute,
		RecordTTL: time.Hour, FileTTL: time.Hour, DeadTTL: time.Hour, MaxDead: 3,
	}
	s, err = jet.Open(t.Context(), nc, cfg)
	require.NoError(t, err)
	js, err = jetstream.New(nc)
	require.NoError(t, err)
	var once sync.Once
	closeAll = func() {
		once.Do(func() {
			nc.Close()
			cancel()
			assert.NoError(t, <-ended)
		})
	}
	t.Cleanup(closeAll)
	return s, js, closeAll
}

var ann = jet.Lane{Class: 1, Tenant: "ann"}

// fetch waits for one task of a lane.
func fetch(t *testing.T, s *jet.Store, lane jet.Lane) *jet.Delivery {
	t.Helper()
	var d *jet.Delivery
	require.Eventually(t, func() bool {
		all, err := s.Tasks.Fetch(t.Context(), lane, 1)
		require.NoError(t, err)
		if len(all) == 1 {
			d = all[0]
		}
		return d != nil
	}, 5*time.Second, 5*time.Millisecond)
	return d
}

func payload(t *testing.T, d *jet.Delivery) string {
	t.Helper()
	b, err := d.Payload(t.Context())
	require.NoError(t, err)
	return string(b)
}

// Tenants can have any name; lanes are apart.
func TestLanes(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t, t.TempDir())
	lanes := []jet.Lane{ann, {Class: 0, Tenant: "ann"}, {Class: 1, Tenant: "a.b>* \x00ü"}, {Class: 1, Tenant: ""}}
	for i, l := range lanes {
		for k := range i + 1 {
			require.NoError(t, s.Tasks.Publish(t.Context(), l, fmt.Sprint(i, "-", k), fmt.Append(nil, i)))
		}
	}
	got, err := s.Tasks.Lanes(t.Context())
	require.NoError(t, err)
	assert.Equal(t, map[jet.Lane]uint64{lanes[0]: 1, lanes[1]: 2, lanes[2]: 3, lanes[3]: 4}, got)
	for i, l := range lanes {
		all, err := s.Tasks.Fetch(t.Context(), l, 10)
		require.NoError(t, err)
		require.Len(t, all, i+1)
		for _, d := range all {
			assert.Equal(t, strconv.Itoa(i), payload(t, d))
			require.NoError(t, d.AckSync(t.Context()))
		}
	}
	got, err = s.Tasks.Lanes(t.Context())
	require.NoError(t, err)
	assert.Empty(t, got)
	s.Tasks.Forget(got)
	none, err := s.Tasks.Fetch(t.Context(), ann, 1)
	require.NoError(t, err)
	assert.Empty(t, none)
}

// Trap: a full stream refuses the message with an error of its own.
func TestFull(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t, t.TempDir())
	for i := range 4 {
		require.NoError(t, s.Tasks.Publish(t.Context(), ann, fmt.Sprint("a", i), nil))
	}
	require.ErrorIs(t, s.Tasks.Publish(t.Context(), ann, "a9", nil), jet.ErrLaneFull)
	n, err := s.Tasks.PublishAll(t.Context(), jet.Lane{Tenant: "b"}, []jet.Task{{ID: "b0"}, {ID: "b1"}, {ID: "b2"}, {ID: "b3"}, {ID: "b4"}, {ID: "b5"}})
	require.ErrorIs(t, err, jet.ErrLaneFull)
	assert.Equal(t, 4, n, "the first are there")
	require.NoError(t, s.Tasks.Publish(t.Context(), jet.Lane{Tenant: "c"}, "c0", nil))
	require.NoError(t, s.Tasks.Publish(t.Context(), jet.Lane{Tenant: "c"}, "c1", nil))
	require.ErrorIs(t, s.Tasks.Publish(t.Context(), jet.Lane{Tenant: "c"}, "c2", make([]byte, 1<<20)), jet.ErrFull)
	u, err := s.Usage(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 10, u.Tasks)
	assert.Zero(t, u.FileBytes, "nothing is left of what was refused")
}

// Trap: a message in hand comes back only after the lease; saying so extends it.
func TestLease(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t, t.TempDir())
	assert.Equal(t, 500*time.Millisecond, s.Lease())
	require.NoError(t, s.Tasks.Publish(t.Context(), ann, "1", []byte("x")))
	d := fetch(t, s, ann)
	begin := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 12 {
		<-tick.C
		require.NoError(t, d.Extend())
		all, err := s.Tasks.Fetch(t.Context(), ann, 1)
		require.NoError(t, err)
		require.Empty(t, all, "it is still ours after %v", time.Since(begin))
	}
	begin = time.Now()
	again := fetch(t, s, ann)
	assert.Equal(t, 2, again.Attempt)
	assert.Greater(t, time.Since(begin), 300*time.Millisecond)
	begin = time.Now()
	require.NoError(t, again.Nak(200*time.Millisecond))
	third := fetch(t, s, ann)
	assert.Equal(t, 3, third.Attempt)
	assert.Greater(t, time.Since(begin), 150*time.Millisecond)
	require.NoError(t, third.AckSync(t.Context()))
}

// Trap: that an ID was published is forgotten, for a message that was done, when
// the server starts again. That a result is written is not.
func TestIDsAreForgotten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _, closeAll := open(t, dir)
	require.NoError(t, s.Tasks.Publish(t.Context(), ann, "1", nil))
	require.NoError(t, s.Tasks.Publish(t.Context(), ann, "1", nil))
	d := fetch(t, s, ann)
	require.NoError(t, s.Results.Commit(t.Context(), jet.Result{ID: "j", Outcome: "first"}))
	require.NoError(t, d.AckSync(t.Context()))
	lanes, err := s.Tasks.Lanes(t.Context())
	require.NoError(t, err)
	assert.Empty(t, lanes, "twice was once")
	closeAll()

	s, _, _ = open(t, dir)
	require.NoError(t, s.Tasks.Publish(t.Context(), ann, "1", nil))
	lanes, err = s.Tasks.Lanes(t.Context())
	require.NoError(t, err)
	if len(lanes) == 0 {
		t.Log("this server remembers")
	}
	require.ErrorIs(t, s.Results.Commit(t.Context(), jet.Result{ID: "j", Outcome: "second"}), jet.ErrExists)
	r, err := s.Results.Get(t.Context(), "j", 0)
	require.NoError(t, err)
	assert.Equal(t, "first", r.Outcome)
}

// However many write the result, one does, and its value is whole.
func TestCommitOnce(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t, t.TempDir())
	for _, size := range []int{10, 1 << 20} {
		id := fmt.Sprint("j", size)
		var won atomic.Int64
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				err := s.Results.Commit(t.Context(), jet.Result{ID: id, Slot: 3, Outcome: "ok", Value: bytes.Repeat([]byte{byte('a' + i)}, size)})
				if err == nil {
					won.Add(1)
				} else {
					assert.ErrorIs(t, err, jet.ErrExists)
				}
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, won.Load())
		r, err := s.Results.Get(t.Context(), id, 3)
		require.NoError(t, err)
		require.Len(t, r.Value, size)
		assert.Equal(t, strings.Repeat(string(r.Value[:1]), size), string(r.Value))
	}
	u, err := s.Usage(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 2, u.Results)
	assert.Less(t, u.FileBytes, uint64(1<<20+10_000), "those that lost left nothing")
	_, err = s.Results.Get(t.Context(), "j10", 4)
	require.ErrorIs(t, err, jet.ErrNotFound)
}

func TestFollow(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t, t.TempDir())
	commit := func(id string, slot int) {
		require.NoError(t, s.Results.Commit(t.Context(), jet.Result{ID: id, Slot: slot, Outcome: "ok", Value: []byte("x")}))
	}
	commit("a", 0)
	commit("b", 0)
	got := make(chan jet.Result, 10)
	stop, err := s.Results.Follow(t.Context(), "a", func(r jet.Result) { got <- r })
	require.NoError(t, err)
	defer stop()
	commit("a", 7)
	assert.Equal(t, jet.Result{ID: "a", Slot: 0, Outcome: "ok", Sequence: 1}, <-got)
	assert.Equal(t, jet.Result{ID: "a", Slot: 7, Outcome: "ok", Sequence: 3}, <-got)
	last, err := s.Results.Last(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 3, last)
	require.NoError(t, s.Results.Drop(t.Context(), "a"))
	_, err = s.Results.Get(t.Context(), "a", 7)
	require.ErrorIs(t, err, jet.ErrNotFound)
	_, err = s.Results.Get(t.Context(), "b", 0)
	require.NoError(t, err)
}

// Trap: a message past MaxDeliver would lie there for ever. Here it comes as often as
// its owner lets it, until it is buried: once, however often that is tried.
func TestBury(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t, t.TempDir())
	large := bytes.Repeat([]byte("x"), 1<<20)
	for i := range 5 {
		require.NoError(t, s.Tasks.Publish(t.Context(), ann, strconv.Itoa(i), large))
		var d *jet.Delivery
		for range 4 {
			d = fetch(t, s, ann)
			require.NoError(t, d.Nak(0))
		}
		d = fetch(t, s, ann)
		assert.Equal(t, 5, d.Attempt)
		letter := jet.Letter{Kind: "job", ID: fmt.Sprint("j", i), Tenant: "ann", Reason: "line\r\nbreak: 1", Attempts: 5}
		require.NoError(t, d.DeadLetter(t.Context(), letter))
		_ = d.DeadLetter(t.Context(), letter)
	}
	all, err := s.Letters.List(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Len(t, all, 3, "the oldest made room")
	assert.Equal(t, []string{"j2", "j3", "j4"}, []string{all[0].ID, all[1].ID, all[2].ID})
	l, err := s.Letters.Get(t.Context(), all[0].Number)
	require.NoError(t, err)
	assert.Equal(t, "line  break: 1", l.Reason)
	assert.Equal(t, "ann", l.Tenant)
	assert.Equal(t, 5, l.Attempts)
	content, err := s.Letters.Content(t.Context(), l)
	require.NoError(t, err)
	assert.Equal(t, large, content)
	rest, err := s.Letters.List(t.Context(), l.Number, 1)
	require.NoError(t, err)
	assert.Len(t, rest, 1)
	require.NoError(t, s.Letters.Discard(t.Context(), l))
	_, err = s.Letters.Get(t.Context(), l.Number)
	require.ErrorIs(t, err, jet.ErrNotFound)
	lanes, err := s.Tasks.Lanes(t.Context())
	require.NoError(t, err)
	assert.Empty(t, lanes)
}

// A consumer that was deleted is created again.
func TestLostConsumer(t *testing.T) {
	t.Parallel()
	s, js, _ := open(t, t.TempDir())
	ctx := t.Context()
	require.NoError(t, s.Tasks.Publish(ctx, ann, "1", nil))
	require.NoError(t, fetch(t, s, ann).AckSync(ctx))
	stream, err := js.Stream(ctx, "t_work")
	require.NoError(t, err)
	for name := range stream.ConsumerNames(ctx).Name() {
		require.NoError(t, stream.DeleteConsumer(ctx, name))
	}
	require.NoError(t, s.Tasks.Publish(ctx, ann, "2", nil))
	require.NoError(t, fetch(t, s, ann).AckSync(ctx))
}

func TestChannels(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t, t.TempDir())
	ctx := t.Context()
	r, err := s.Channels.Receiver(ctx, jet.Hooks)
	require.NoError(t, err)
	none, err := r.Next(ctx, 5, 50*time.Millisecond)
	require.NoError(t, err)
	assert.Empty(t, none)
	require.NoError(t, s.Channels.Send(ctx, jet.Batches, "ann", "b", nil))
	for _, id := range []string{"1", "2", "2"} {
		require.NoError(t, s.Channels.Send(ctx, jet.Hooks, "ann", id, []byte(id)))
	}
	require.NoError(t, s.Channels.Send(ctx, jet.Hooks, "bob", "3", []byte("3")))
	n, err := s.Channels.Count(ctx, jet.Hooks, "ann")
	require.NoError(t, err)
	assert.EqualValues(t, 2, n)
	all, err := r.Next(ctx, 5, 5*time.Second)
	require.NoError(t, err)
	require.Len(t, all, 3, "of all owners, and at once")
	for _, d := range all {
		require.NoError(t, d.AckSync(ctx))
	}
	n, err = s.Channels.Count(ctx, jet.Hooks, "ann")
	require.NoError(t, err)
	assert.Zero(t, n)
}

func TestListen(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t, t.TempDir())
	got := make(chan string, 1)
	stop, err := s.Listen(func(id, word string) { got <- id + " " + word })
	require.NoError(t, err)
	defer stop()
	s.Notify("job_1", "stop")
	assert.Equal(t, "job_1 stop", <-got)
}

// Without its server every call soon fails with ErrUnavailable.
func TestDown(t *testing.T) {
	t.Parallel()
	s, _, closeAll := open(t, t.TempDir())
	closeAll()
	ctx := t.Context()
	begin := time.Now()
	_, _, err := s.Records.Get(ctx, "a.x")
	require.ErrorIs(t, err, jet.ErrUnavailable)
	assert.Less(t, time.Since(begin), 5*time.Second)
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	for what, err := range map[string]error{
		"publish": s.Tasks.Publish(ctx, ann, "1", nil),
		"commit":  s.Results.Commit(ctx, jet.Result{ID: "j"}),
		"send":    s.Channels.Send(ctx, jet.Hooks, "a", "1", nil),
		"remove":  s.Files.Remove(ctx, "f"),
	} {
		require.Error(t, err, what)
	}
	_, err = s.Tasks.Fetch(ctx, ann, 1)
	require.Error(t, err)
	_, err = s.Usage(ctx)
	require.Error(t, err)
	_, err = s.Results.Follow(ctx, "a", nil)
	require.Error(t, err)
	_, err = s.Listen(nil)
	assert.ErrorIs(t, err, jet.ErrUnavailable)
}
