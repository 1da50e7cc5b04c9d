package queue_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// disk is a small file system.
type disk struct {
	t   *testing.T
	dir string
}

// newDisk mounts a file system. Without the right to do so it skips the test.
func newDisk(t *testing.T) *disk {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skip("can't mount a file system: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return &disk{t, dir}
}

// fill takes all room.
func (d *disk) fill() {
	d.t.Helper()
	f, err := os.Create(filepath.Join(d.dir, "filler"))
	require.NoError(d.t, err)
	for size := 64 << 10; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		require.ErrorIs(d.t, err, syscall.ENOSPC)
	}
	require.NoError(d.t, f.Close())
}

func (d *disk) free() {
	d.t.Helper()
	require.NoError(d.t, os.Remove(filepath.Join(d.dir, "filler")))
}

// refuse submits until nothing is accepted, and requires quick and clear refusals.
func refuse(t *testing.T, a *queuetest.App) {
	t.Helper()
	big := `{"url":"/v1/chat/completions","body":{"model":"m","text":"` + strings.Repeat("x", 8<<10) + `"}}`
	upload, form := queuetest.Form(map[string]string{"purpose": "batch"}, queuetest.Lines(4000))
	require.Eventually(t, func() bool { return a.Do(http.MethodPost, "/v1/jobs", big).Code == http.StatusServiceUnavailable }, 20*time.Second, time.Millisecond)
	for _, one := range [][]string{{"/v1/jobs", big}, {"/v1/files", upload, "Content-Type", form}} {
		began := time.Now()
		w := a.Do(http.MethodPost, one[0], one[1], one[2:]...)
		require.Equal(t, http.StatusServiceUnavailable, w.Code, w.Body)
		assert.Less(t, time.Since(began), time.Second)
		assert.Equal(t, "1", w.Header().Get("Retry-After"))
		assert.Contains(t, w.Body.String(), "queue_unavailable")
	}
	a.Eventually("it says so", func() bool { return a.Queue.Down() != nil })
}

// A disk that was full once refuses quickly, says so, and is used again without a restart.
func TestNeighbourFullDisk(t *testing.T) {
	t.Parallel()
	d, seen := newDisk(t), new(queuetest.Events)
	cfg := queuetest.Defaults(queuetest.StartServer(t, embedded.Config{Dir: filepath.Join(d.dir, "queue")}))
	cfg.OnEvent = seen.On
	a := queuetest.Start(t, cfg)
	first := a.Submit(queuetest.Job(1))
	a.Done(first)
	require.NoError(t, a.Queue.Down())
	for range 2 { // and again
		d.fill()
		refuse(t, a)
		down, up := len(seen.Of(queue.StoreDown)), len(seen.Of(queue.StoreUp))
		time.Sleep(3 * time.Second)
		assert.Len(t, seen.Of(queue.StoreDown), down, "it does not flap")
		assert.Len(t, seen.Of(queue.StoreUp), up, "it does not flap")
		require.Equal(t, http.StatusServiceUnavailable, a.Do(http.MethodPost, "/v1/jobs", queuetest.Job(2)).Code)
		d.free()
		a.Eventually("it is back", func() bool { return a.Queue.Down() == nil })
		require.Equal(t, "completed", a.Done(a.Submit(queuetest.Job(3))).Str("status"))
		require.Equal(t, "completed", a.Done(first).Str("status"), "what was stored is there")
		require.Equal(t, "completed", a.Ended(a.Batch(queuetest.Lines(3))).Str("status"))
	}
}

// A NATS elsewhere whose disk was full needs its own restart, but the gateway does not.
func TestNeighbourFullDiskOfAnotherServer(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	address := freeAddresses(t, 1)[0]
	start := func() *child {
		return spawn(t, "nats", "DIR="+filepath.Join(d.dir, "queue"), "LISTEN="+address)
	}
	broker := start()
	cfg := queuetest.Defaults(queuetest.StartServer(t, embedded.Config{}))
	cfg.Connect = queue.URL("nats://" + address)
	a := queuetest.Start(t, cfg)
	a.Done(a.Submit(queuetest.Job(1)))
	d.fill()
	refuse(t, a)
	d.free()
	broker.kill()
	start()
	a.Eventually("it is back", func() bool { return a.Queue.Down() == nil })
	require.Equal(t, "completed", a.Done(a.Submit(queuetest.Job(3))).Str("status"))
}

// A store at its own bound refuses as well, and accepts again when there is room.
func TestNeighbourStoreAtItsBound(t *testing.T) {
	t.Parallel()
	s := queuetest.StartServer(t, embedded.Config{MaxBytes: 1 << 20})
	a := queuetest.Start(t, queuetest.Defaults(s))
	var files []string
	body, form := queuetest.Form(map[string]string{"purpose": "batch"}, queuetest.Lines(1000))
	require.Eventually(t, func() bool {
		began := time.Now()
		w := a.Do(http.MethodPost, "/v1/files", body, "Content-Type", form)
		assert.Less(t, time.Since(began), time.Second)
		if w.Code == http.StatusOK {
			var o queuetest.Object
			assert.NoError(t, json.Unmarshal(w.Body.Bytes(), &o))
			files = append(files, o.Str("id"))
		}
		return w.Code == http.StatusServiceUnavailable
	}, 20*time.Second, time.Millisecond)
	for _, id := range files {
		a.Do(http.MethodDelete, "/v1/files/"+id, "")
	}
	a.Eventually("it is back", func() bool {
		s, err := a.Queue.Status(context.Background())
		return err == nil && s.Connected && a.Queue.Down() == nil
	})
	require.Equal(t, "completed", a.Done(a.Submit(queuetest.Job(3))).Str("status"))
}
