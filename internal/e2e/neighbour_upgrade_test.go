package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/need"
	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// olderCommit is the version that a rolling upgrade begins with.
const olderCommit = "b1d6dddd991ca9e432395ed43887802f9a2f84ce"

// buildOlder builds the gateway of olderCommit from this repository's history, unless
// GINFER_OLDER_GATEWAY names one that was built before.
func buildOlder(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("GINFER_OLDER_GATEWAY"); path != "" {
		return path
	}
	dir := t.TempDir()
	archive := exec.CommandContext(t.Context(), "git", "-C", "../..", "archive", "-o", filepath.Join(dir, "older.tar"), olderCommit)
	if out, err := archive.CombinedOutput(); err != nil {
		t.Skipf("the history is not available: %s", out)
	}
	for _, args := range [][]string{{"tar", "xf", "older.tar"}, {"go", "build", "-o", "older", "./examples/gateway"}} {
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	return filepath.Join(dir, "older")
}

// startNATS runs a NATS server that outlives the gateways.
func startNATS(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	require.True(t, s.ReadyForConnections(patience))
	return s.ClientURL()
}

// promptCounter is an upstream that counts the requests with each prompt.
type promptCounter struct {
	mu   sync.Mutex
	seen map[string]int
}

func (m *promptCounter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Messages []struct{ Content string } `json:"messages"`
	}
	_ = json.NewDecoder(r.Body).Decode(&q)
	prompt := ""
	if len(q.Messages) > 0 {
		prompt = q.Messages[0].Content
	}
	m.mu.Lock()
	m.seen[prompt]++
	m.mu.Unlock()
	if strings.HasPrefix(prompt, "slow") {
		time.Sleep(50 * time.Millisecond)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"id":"c","object":"chat.completion","model":"demo","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":%q}}],"usage":{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10}}`, "re: "+prompt)
}

func (m *promptCounter) count(prompt string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen[prompt]
}

// upgrade is two versions of the gateway over one Redis, one NATS and one upstream.
type upgrade struct {
	*promptCounter

	t        *testing.T
	config   string
	key      string
	binaries [2]string
	gateways [2]*process // the older one, and this version
	client   *http.Client
}

const upgradeConfig = `{` + ports + `, "auth": {"keys": %q}, "redis": {"addresses": [%q], "replicas": 2, "timeout": "2s"}, "queue": {"url": %q, "workers": 8},
	"limits": {
		"requests": {"unit": "requests", "by": "everybody", "rate": "40/s", "burst": 40},
		"tokens": {"unit": "tokens", "by": "header:X-Bucket", "budget": 3000, "period": "month"}
	},
	"upstreams": {"old": {"endpoints": [{"url": %[4]q}]}, "new": {"endpoints": [{"url": %[4]q}]}},
	"groups": [
		{"path": "/v1", "upstream": "old", "queue": true, "proxy": {"retry_posts": true}},
		{"path": "/cached", "upstream": "old", "cache": {"ttl": "5m", "idempotency": "1h"}},
		{"path": "/requests", "upstream": "old", "limits": ["requests"]},
		{"path": "/tokens", "upstream": "old", "limits": ["tokens"]},
		{"path": "/roll", "routing": {"sticky_header": "X-User-Id",
			"table": {"salt": "u", "routes": [{"model": "demo", "version": "old", "weight": 1}, {"model": "demo", "version": "new", "weight": 1}]},
			"rollouts": [{"model": "demo", "stable": "old", "canary": "new", "steps": [10, 50, 100], "dwell": "1h", "interval": "200ms"}]}}
	]}`

func newUpgrade(t *testing.T) *upgrade {
	t.Helper()
	u := &upgrade{promptCounter: &promptCounter{seen: map[string]int{}}, t: t, binaries: [2]string{buildOlder(t), gatewayBinary}, client: newClient(t, 64)}
	keys := filepath.Join(t.TempDir(), "keys.json")
	u.key = newKey(t, "-file", keys, "-subject", "alice", "-tenant", "acme")
	u.config = fmt.Sprintf(upgradeConfig, keys, redistest.Start(t).Addr, startNATS(t), newServer(t, u.promptCounter).URL)
	for i := range u.gateways {
		u.start(i)
	}
	return u
}

// start starts one of the gateways, and waits for its queue.
func (u *upgrade) start(i int) {
	u.t.Helper()
	u.gateways[i] = startBinary(u.t, u.binaries[i], u.config)
	require.Eventually(u.t, func() bool {
		code, _ := u.send(i, http.MethodGet, "/v1/batches", "")
		return code == http.StatusOK
	}, patience, 50*time.Millisecond)
}

func (u *upgrade) send(i int, method, path, body string, header ...string) (int, string) {
	u.t.Helper()
	// One name for both, as behind a load balancer: it is part of the keys of the cache.
	return u.gateways[i].sendWithKey(u.client, method, path, u.key, body, append(header, "Host", "gateway.example")...)
}

func prompt(text string) string {
	return fmt.Sprintf(`{"model":"demo","max_tokens":5,"temperature":0,"messages":[{"role":"user","content":%q}]}`, text)
}

// both runs f with each gateway first.
func (u *upgrade) both(what string, f func(t *testing.T, name string, one, other int)) {
	for i, name := range []string{"from the older", "to the older"} {
		u.t.Run(what+" "+name, func(t *testing.T) { f(t, name, i, 1-i) })
	}
}

// Two versions of the gateway share one Redis and one NATS during a rolling upgrade: nothing
// is lost, doubled or admitted beyond a limit.
func TestNeighbourRollingUpgrade(t *testing.T) {
	need.Minutes(t)
	u := newUpgrade(t)
	t.Run("limits of requests", u.testRequests)
	t.Run("limits of tokens", u.testTokens)
	u.both("cache", u.testCache)
	u.both("purge", u.testPurge)
	u.both("idempotency", u.testIdempotency)
	u.both("jobs", u.testJobs)
	u.both("batch", u.testBatch)
	u.both("kill", u.testBatchOfAKilledGateway)
	u.both("rollout", u.testRollout)
}

// flood sends requests through both gateways for some time, and returns how many were admitted.
func (u *upgrade) flood(d time.Duration, path string, header ...string) (admitted int64, took time.Duration) {
	var n atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range 16 {
		wg.Go(func() {
			for time.Since(begin) < d {
				if code, _ := u.send(i%2, http.MethodPost, path+"/chat/completions", prompt("flood"), header...); code == http.StatusOK {
					n.Add(1)
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	return n.Load(), time.Since(begin)
}

func (u *upgrade) testRequests(t *testing.T) {
	t.Helper()
	admitted, took := u.flood(20*time.Second, "/requests")
	most := 40*took.Seconds() + 40
	t.Logf("%d of %.0f requests", admitted, most)
	assert.LessOrEqual(t, float64(admitted), 1.01*most)
	assert.GreaterOrEqual(t, float64(admitted), 0.8*most)
}

func (u *upgrade) testTokens(t *testing.T) {
	t.Helper()
	admitted, _ := u.flood(20*time.Second, "/tokens", "X-Bucket", "b")
	t.Logf("%d of 3000 tokens", 10*admitted)
	assert.LessOrEqual(t, 10*admitted, int64(3030))
	assert.GreaterOrEqual(t, 10*admitted, int64(2700))
}

// Each version serves what it has stored, beside the other: they share no responses of models,
// because the keys no longer contain the host.
func (u *upgrade) testCache(t *testing.T, name string, one, other int) {
	t.Helper()
	attempt := 0
	require.Eventually(t, func() bool {
		attempt++
		text := fmt.Sprintf("cached %s %d", name, attempt)
		_, first := u.send(one, http.MethodPost, "/cached/chat/completions", prompt(text))
		time.Sleep(200 * time.Millisecond)
		code, _ := u.send(other, http.MethodPost, "/cached/chat/completions", prompt(text))
		_, again := u.send(one, http.MethodPost, "/cached/chat/completions", prompt(text))
		return code == http.StatusOK && u.count(text) <= 2 && first == again
	}, patience, time.Millisecond)
}

// A purge at one version reaches the other.
func (u *upgrade) testPurge(t *testing.T, name string, one, other int) {
	t.Helper()
	text, before := "purged "+name, 0
	require.Eventually(t, func() bool { // both have it
		before = u.count(text)
		for _, i := range []int{one, other} {
			u.send(i, http.MethodPost, "/cached/chat/completions", prompt(text))
		}
		return u.count(text) == before
	}, patience, 20*time.Millisecond)
	code, body := u.gateways[one].admin(http.MethodPost, "/admin/cache/purge?model=demo", "")
	require.Less(t, code, 300, body)
	require.Eventually(t, func() bool {
		u.send(other, http.MethodPost, "/cached/chat/completions", prompt(text))
		return u.count(text) > before
	}, patience, 20*time.Millisecond)
}

// One Idempotency-Key at both versions at once reaches the upstream once.
func (u *upgrade) testIdempotency(t *testing.T, name string, one, other int) {
	t.Helper()
	for i := range 10 {
		text := fmt.Sprintf("slow %s %d", name, i)
		var wg sync.WaitGroup
		var codes [2]int
		for at, gateway := range []int{one, other} {
			wg.Go(func() {
				codes[at], _ = u.send(gateway, http.MethodPost, "/cached/chat/completions", prompt(text), "Idempotency-Key", strings.ReplaceAll(text, " ", "-"))
			})
		}
		wg.Wait()
		assert.Equal(t, 1, u.count(text), "%s: %v", text, codes)
	}
}

// A job that was submitted to one version has its result at the other.
func (u *upgrade) testJobs(t *testing.T, name string, one, other int) {
	t.Helper()
	for i := range 20 {
		text := fmt.Sprintf("job %s %d", name, i)
		code, body := u.send(one, http.MethodPost, "/v1/jobs", fmt.Sprintf(`{"url":"/v1/chat/completions","body":%s}`, prompt(text)))
		require.Equal(t, http.StatusAccepted, code, body)
		var job struct{ ID string }
		require.NoError(t, json.Unmarshal([]byte(body), &job))
		code, body = u.send(other, http.MethodGet, "/v1/jobs/"+job.ID+"/result?wait=20s", "")
		require.Equal(t, http.StatusOK, code, body)
		require.Contains(t, body, text)
		require.Equal(t, 1, u.count(text))
	}
}

// submit submits a batch to a gateway, and returns its id.
func (u *upgrade) submit(t *testing.T, i, lines int, name string) string {
	t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	require.NoError(t, w.WriteField("purpose", "batch"))
	part, err := w.CreateFormFile("file", "in.jsonl")
	require.NoError(t, err)
	for n := range lines {
		_, _ = fmt.Fprintf(part, `{"custom_id":"q%d","method":"POST","url":"/v1/chat/completions","body":%s}`+"\n", n, prompt(fmt.Sprintf("slow %s %d.", name, n)))
	}
	require.NoError(t, w.Close())
	code, body := u.send(i, http.MethodPost, "/v1/files", form.String(), "Content-Type", w.FormDataContentType())
	require.Equal(t, http.StatusOK, code, body)
	var object struct{ ID string }
	require.NoError(t, json.Unmarshal([]byte(body), &object))
	code, body = u.send(i, http.MethodPost, "/v1/batches", fmt.Sprintf(`{"input_file_id":%q,"endpoint":"/v1/chat/completions","completion_window":"24h"}`, object.ID))
	require.Equal(t, http.StatusOK, code, body)
	require.NoError(t, json.Unmarshal([]byte(body), &object))
	return object.ID
}

type batchState struct {
	Status string
	Output string                  `json:"output_file_id"`
	Counts struct{ Completed int } `json:"request_counts"`
}

func (u *upgrade) batch(t *testing.T, i int, id string) (b batchState) {
	t.Helper()
	code, body := u.send(i, http.MethodGet, "/v1/batches/"+id, "")
	require.Equal(t, http.StatusOK, code, body)
	require.NoError(t, json.Unmarshal([]byte(body), &b))
	return b
}

// requireOutput waits for the batch, and checks that each line is there once, in order.
func (u *upgrade) requireOutput(t *testing.T, i, lines int, id, name string) {
	t.Helper()
	var b batchState
	require.Eventually(t, func() bool {
		b = u.batch(t, i, id)
		return b.Status == "completed"
	}, 3*time.Minute, 100*time.Millisecond, "%+v", b)
	require.Equal(t, lines, b.Counts.Completed)
	_, out := u.send(i, http.MethodGet, "/v1/files/"+b.Output+"/content", "")
	rows := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, rows, lines)
	for n, row := range rows {
		require.Contains(t, row, fmt.Sprintf(`"custom_id":"q%d"`, n))
		require.Contains(t, row, fmt.Sprintf("re: slow %s %d.", name, n))
	}
}

// Both versions work on a batch of either, and no line runs twice.
func (u *upgrade) testBatch(t *testing.T, name string, one, other int) {
	t.Helper()
	const lines = 300
	id := u.submit(t, one, lines, name)
	u.requireOutput(t, other, lines, id, name)
	for n := range lines {
		require.Equal(t, 1, u.count(fmt.Sprintf("slow %s %d.", name, n)))
	}
}

// The other version finishes the batch of a gateway that was killed. Only lines that were in
// flight there run again.
func (u *upgrade) testBatchOfAKilledGateway(t *testing.T, name string, one, other int) {
	t.Helper()
	const lines = 400
	name = "killed " + name
	id := u.submit(t, one, lines, name)
	require.Eventually(t, func() bool { return u.batch(t, other, id).Counts.Completed > lines/10 }, time.Minute, 20*time.Millisecond)
	u.gateways[one].signal(syscall.SIGKILL)
	<-u.gateways[one].exited
	u.requireOutput(t, other, lines, id, name)
	again := 0
	for n := range lines {
		again += u.count(fmt.Sprintf("slow %s %d.", name, n)) - 1
	}
	t.Logf("%d lines ran again", again)
	assert.LessOrEqual(t, again, 8, "workers of the killed gateway")
	u.start(one)
}

// The state of a rollout is that of both versions.
func (u *upgrade) testRollout(t *testing.T, _ string, one, other int) {
	t.Helper()
	step := func(i int) string {
		_, text := u.gateways[i].admin(http.MethodGet, "/admin/rollouts", "")
		var rows []rolloutRow
		require.NoError(t, json.Unmarshal([]byte(text), &rows), text)
		return fmt.Sprint(rows[0].State, rows[0].Step)
	}
	act := func(action, want string) {
		code, body := u.gateways[one].admin(http.MethodPost, "/admin/rollouts/demo:new/"+action, "")
		require.Less(t, code, 300, body)
		require.Eventually(t, func() bool { return step(other) == want }, patience, 50*time.Millisecond, action)
	}
	act("promote", "running1")
	act("pause", "paused1")
	act("rollback", "rolled_back1")
	act("restart", "running0")
}
