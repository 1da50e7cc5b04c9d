package queue_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// crashJobs is the number of jobs in a crash test: fewer in a short run, and all with
// GINFER_QUEUE_FULL.
func crashJobs(usual int) int {
	switch {
	case os.Getenv("GINFER_QUEUE_FULL") != "":
		return 10_000
	case testing.Short(), raced:
		return 500
	}
	return usual
}

// echoed is the response of the upstream.
const echoed = `{"echo":%s,"usage":{"prompt_tokens":2,"completion_tokens":1}}`

// upstream echoes requests, and counts how often it received each.
type upstream struct {
	*httptest.Server
	mu    sync.Mutex
	calls map[string]int
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{calls: map[string]int{}}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.calls[r.Header.Get("Idempotency-Key")]++
		u.mu.Unlock()
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, echoed, b)
	}))
	t.Cleanup(u.Close)
	return u
}

// repeated returns the number of requests that came more than once, and the most.
func (u *upstream) repeated() (n, most int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, calls := range u.calls {
		if calls > 1 {
			n++
		}
		most = max(most, calls)
	}
	return n, most
}

func (u *upstream) address() string { return u.Listener.Addr().String() }

// load submits jobs from several clients, each until it is accepted, and calls at with
// the number so far.
func load(t *testing.T, r *remote, n int, at func(submitted int)) []string {
	t.Helper()
	ids, faults := make([]string, n), make([]error, 32)
	var next, taken atomic.Int64
	var wg sync.WaitGroup
	for client := range faults {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				text, err := r.insist(http.StatusAccepted, http.MethodPost, "/v1/jobs", queuetest.Job(i), "Idempotency-Key", fmt.Sprint("k", i))
				if err != nil {
					faults[client] = err
					return
				}
				var o queuetest.Object
				_ = json.Unmarshal([]byte(text), &o)
				ids[i] = o.Str("id")
				at(int(taken.Add(1)))
			}
		})
	}
	wg.Wait()
	for _, err := range faults {
		require.NoError(t, err)
	}
	return ids
}

// drained waits until no task is left.
func (r *remote) drained(t *testing.T) {
	t.Helper()
	r.status(t, "all tasks are done", func(o queuetest.Object) bool { return o["tasks"].(float64) == 0 })
}

// status waits until the queue has a status, and returns it.
func (r *remote) status(t *testing.T, what string, is func(queuetest.Object) bool) queuetest.Object {
	t.Helper()
	var o queuetest.Object
	require.Eventually(t, func() bool {
		code, text, err := r.send(http.MethodGet, "/admin/queue", "")
		o = nil
		return err == nil && code == http.StatusOK && json.Unmarshal([]byte(text), &o) == nil && is(o)
	}, 3*time.Minute, 20*time.Millisecond, what)
	return o
}

// results waits until there are n results, one for each job: those of a batch are
// dropped a little after its end, since its files have them. It returns the status.
func (r *remote) results(t *testing.T, n int) queuetest.Object {
	t.Helper()
	return r.status(t, "one result for each job", func(o queuetest.Object) bool { return int(o["results"].(float64)) == n })
}

// verify reads the result of every job.
func verify(t *testing.T, r *remote, ids []string) {
	t.Helper()
	seen := map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var next atomic.Int64
	var wrong atomic.Int64
	for range 16 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(ids); i = int(next.Add(1)) - 1 {
				text, err := r.insist(http.StatusOK, http.MethodGet, "/v1/jobs/"+ids[i]+"/result?wait=20s", "")
				if err != nil || text != fmt.Sprintf(echoed, fmt.Sprintf(`{"model":"m","n":%d}`, i)) {
					wrong.Add(1)
				}
				mu.Lock()
				seen[ids[i]] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	assert.Zero(t, wrong.Load(), "wrong results")
	assert.Len(t, seen, len(ids), "IDs")
}

// The process is killed four times while jobs and a batch are accepted and carried out.
// In the end each has exactly one result.
func TestKill(t *testing.T) {
	t.Parallel()
	n, up, dir := crashJobs(10_000), newUpstream(t), t.TempDir()
	r := newRemote(t)
	run := func() *child {
		c := spawn(t, "gateway", "DIR="+dir, "UPSTREAM="+up.address())
		r.use(c)
		return c
	}
	c := run()
	batch := r.newBatch(t, n/5)

	begin := time.Now()
	var once [5]sync.Once
	ids := load(t, r, n, func(submitted int) {
		if k := submitted * 5 / n; k >= 1 && k <= 4 {
			once[k].Do(func() { // the other clients continue without a gateway
				c.kill()
				c = run()
			})
		}
	})
	took := time.Since(begin)
	r.drained(t)
	t.Logf("%d jobs and %d lines, 4 kills: taken in %v (%.0f/s), done in %v (%.0f/s)", n, n/5, took.Round(time.Millisecond),
		float64(n)/took.Seconds(), time.Since(begin).Round(time.Millisecond), float64(n+n/5)/time.Since(begin).Seconds())
	verify(t, r, ids)
	output := r.output(t, batch)
	require.Len(t, output, n/5)
	for i, line := range output {
		require.Equal(t, fmt.Sprintf("r%d", i), line.Str("custom_id"))
	}
	status := r.results(t, n)
	assert.Zero(t, status["dead_letters"])
	repeated, most := up.repeated()
	t.Logf("%d of %d requests reached the upstream again, one of them %d times", repeated, n+n/5, most)
}

// A job that kills its process each time is given up.
func TestPoison(t *testing.T) {
	t.Parallel()
	up, dir := newUpstream(t), t.TempDir()
	r := newRemote(t)
	supervise(t, r, "gateway", "DIR="+dir, "UPSTREAM="+up.address(), "ATTEMPTS=3")
	text, err := r.insist(http.StatusAccepted, http.MethodPost, "/v1/jobs", `{"url":"/v1/completions","body":{"x":"`+strings.Repeat("x", poison)+`"}}`, "Idempotency-Key", "k")
	require.NoError(t, err)
	var o queuetest.Object
	require.NoError(t, json.Unmarshal([]byte(text), &o))
	path := "/v1/jobs/" + o.Str("id") + "?wait=5s"
	for o.Str("status") == "queued" || o.Str("status") == "in_progress" {
		text, err = r.insist(http.StatusOK, http.MethodGet, path, "")
		require.NoError(t, err)
		o = nil
		require.NoError(t, json.Unmarshal([]byte(text), &o))
	}
	assert.Equal(t, "failed", o.Str("status"))
	assert.Equal(t, "worker_lost", o.Code())
	assert.InDelta(t, 3, o["attempts"], 0.1)
	text, err = r.insist(http.StatusOK, http.MethodGet, "/admin/queue/dead", "")
	require.NoError(t, err)
	assert.Contains(t, text, "begun 3 times")
	text, err = r.insist(http.StatusAccepted, http.MethodPost, "/v1/jobs", queuetest.Job(0))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal([]byte(text), &o))
	verify(t, r, []string{o.Str("id")})
}

// newBatch submits a batch of n lines.
func (r *remote) newBatch(t *testing.T, n int) string {
	t.Helper()
	body, kind := queuetest.Form(map[string]string{"purpose": "batch"}, queuetest.Lines(n))
	text, err := r.insist(http.StatusOK, http.MethodPost, "/v1/files", body, "Content-Type", kind)
	require.NoError(t, err)
	var file, batch queuetest.Object
	require.NoError(t, json.Unmarshal([]byte(text), &file))
	text, err = r.insist(http.StatusOK, http.MethodPost, "/v1/batches", `{"input_file_id":"`+file.Str("id")+`","endpoint":"/v1/chat/completions","completion_window":"24h"}`)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal([]byte(text), &batch))
	return batch.Str("id")
}

// output waits for a batch and reads its output.
func (r *remote) output(t *testing.T, id string) []queuetest.Object {
	t.Helper()
	var o queuetest.Object
	require.Eventually(t, func() bool {
		code, text, err := r.send(http.MethodGet, "/v1/batches/"+id, "")
		o = nil
		return err == nil && code == http.StatusOK && json.Unmarshal([]byte(text), &o) == nil && o.Str("status") == "completed"
	}, 2*time.Minute, 50*time.Millisecond, "the batch is completed: %v", o)
	text, err := r.insist(http.StatusOK, http.MethodGet, "/v1/files/"+o.Str("output_file_id")+"/content", "")
	require.NoError(t, err)
	var all []queuetest.Object
	for line := range strings.Lines(text) {
		var l queuetest.Object
		require.NoError(t, json.Unmarshal([]byte(line), &l))
		all = append(all, l)
	}
	assert.Equal(t, [3]int{len(all), len(all), 0}, o.Counts())
	assert.Equal(t, [5]int{2 * len(all), 0, len(all), 0, 3 * len(all)}, o.Tokens(), "of each line once, however often it was begun")
	return all
}

// A cluster of three loses a server, and the worker with it.
func TestClusterLosesNode(t *testing.T) {
	t.Parallel()
	n, up := crashJobs(1_000), newUpstream(t)
	addresses := freeAddresses(t, 6)
	clients, routes := addresses[:3], addresses[3:]
	brokers := make([]*child, 3)
	var starting sync.WaitGroup
	for i := range brokers {
		starting.Go(func() {
			brokers[i] = spawn(t, "broker", "DIR="+t.TempDir(), fmt.Sprint("NODE=n", i), "LISTEN="+clients[i], "ROUTE="+routes[i], "PEERS="+strings.Join(routes, ","))
		})
	}
	starting.Wait()
	r := newRemote(t)
	run := func() *child {
		c := spawn(t, "worker", "URL=nats://"+strings.Join(clients, ",nats://"), "UPSTREAM="+up.address())
		r.use(c)
		return c
	}
	c := run()
	batch := r.newBatch(t, n/5)
	begin := time.Now()
	var once [3]sync.Once
	ids := load(t, r, n, func(submitted int) {
		switch submitted * 3 / n {
		case 1:
			once[1].Do(brokers[0].kill)
		case 2:
			once[2].Do(func() {
				c.kill()
				c = run()
			})
		}
	})
	took := time.Since(begin)
	r.drained(t)
	t.Logf("%d jobs and %d lines, 3 servers, one killed, worker killed: taken in %v (%.0f/s), done in %v (%.0f/s)", n, n/5, took.Round(time.Millisecond),
		float64(n)/took.Seconds(), time.Since(begin).Round(time.Millisecond), float64(n+n/5)/time.Since(begin).Seconds())
	verify(t, r, ids)
	require.Len(t, r.output(t, batch), n/5)
	status := r.results(t, n)
	assert.Zero(t, status["dead_letters"])
	repeated, most := up.repeated()
	t.Logf("%d of %d requests reached the upstream again, one of them %d times", repeated, n+n/5, most)
}
