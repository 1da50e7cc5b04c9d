package queue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/panjf2000/ants/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	if run, ok := children[os.Getenv(childEnv)]; ok {
		run()
		return
	}
	ants.Release() // its own pool, which the library does not use
	goleak.VerifyTestMain(m)
}

// startServer runs a store in the process until the test ends.
func startServer(tb testing.TB, cfg embedded.Config) *embedded.Server {
	tb.Helper()
	if cfg.Dir == "" {
		cfg.Dir = tb.TempDir()
	}
	s, err := embedded.New(cfg)
	require.NoError(tb, err)
	runUntilEnd(tb, s.Run)
	return s
}

// runUntilEnd runs a loop in the background and stops it at the end of the test.
func runUntilEnd(tb testing.TB, run func(context.Context) error) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			assert.NoError(tb, <-done)
		})
	}
	tb.Cleanup(stop)
	return stop
}

// byHeader is an owner, who is in the header X-User.
func byHeader(c *gin.Context) (string, error) { return c.GetHeader("X-User"), nil }

// echo answers with the request's body, as a model would.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"echo":%s}`, b)
})

// config is one for tests: quick.
func config(s *embedded.Server) queue.Config {
	return queue.Config{
		Connect: s.Connect, Owner: byHeader, Handler: echo,
		Lease: 2 * time.Second, Backoff: 20 * time.Millisecond, MaxBackoff: 100 * time.Millisecond, DrainTimeout: 2 * time.Second,
	}
}

// app is a queue that runs, behind a server.
type app struct {
	tb    testing.TB
	queue *queue.Queue
	http  http.Handler
	user  string
	stop  func()
}

// start runs a queue and waits until it is connected.
func start(tb testing.TB, cfg queue.Config) *app {
	tb.Helper()
	q, err := queue.New(cfg)
	require.NoError(tb, err)
	a := &app{tb: tb, queue: q, http: router(q), user: "ann"}
	a.stop = runUntilEnd(tb, q.Run)
	a.eventually("the queue is connected", func() bool { s, _ := q.Status(context.Background()); return s.Connected })
	return a
}

func router(q *queue.Queue) http.Handler {
	r := gin.New()
	q.Routes(r.Group("/v1"))
	q.AdminRoutes(r.Group("/admin"))
	return r
}

// quick is a queue of its own with a server of its own.
func quick(tb testing.TB, change func(*queue.Config)) *app {
	tb.Helper()
	cfg := config(startServer(tb, embedded.Config{}))
	if change != nil {
		change(&cfg)
	}
	return start(tb, cfg)
}

// as is the same for another user.
func (a *app) as(user string) *app {
	b := *a
	b.user = user
	return &b
}

func (a *app) eventually(what string, f func() bool) {
	a.tb.Helper()
	require.Eventually(a.tb, f, 20*time.Second, 10*time.Millisecond, what)
}

// do sends a request and returns the answer.
func (a *app) do(method, path, body string, header ...string) *httptest.ResponseRecorder {
	a.tb.Helper()
	r := httptest.NewRequestWithContext(context.Background(), method, path, strings.NewReader(body))
	r.Header.Set("X-User", a.user)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	a.http.ServeHTTP(w, r)
	return w
}

// object is some JSON.
type object map[string]any

func (o object) str(name string) string { s, _ := o[name].(string); return s }

// want sends a request whose answer must have a status, and reads the answer.
func (a *app) want(status int, method, path, body string, header ...string) object {
	a.tb.Helper()
	w := a.do(method, path, body, header...)
	require.Equal(a.tb, status, w.Code, "%s %s: %s", method, path, w.Body)
	var o object
	require.NoError(a.tb, json.Unmarshal(w.Body.Bytes(), &o), w.Body)
	return o
}

// code is the machine-readable reason of an error.
func (o object) code() string {
	e, _ := o["error"].(map[string]any)
	s, _ := e["code"].(string)
	return s
}

// job is a submission.
func job(n int) string {
	return fmt.Sprintf(`{"url":"/v1/chat/completions","body":{"model":"m","n":%d}}`, n)
}

// submit takes a job and returns its ID.
func (a *app) submit(body string, header ...string) string {
	a.tb.Helper()
	return a.want(http.StatusAccepted, http.MethodPost, "/v1/jobs", body, header...).str("id")
}

// done waits for a job's end and returns it.
func (a *app) done(id string) object {
	a.tb.Helper()
	o := a.want(http.StatusOK, http.MethodGet, "/v1/jobs/"+id+"?wait=20s", "")
	require.NotContains(a.tb, []string{"queued", "in_progress"}, o.str("status"), "%v", o)
	return o
}

// upload stores an input file and returns its ID.
func (a *app) upload(content string) string {
	a.tb.Helper()
	body, kind := form(map[string]string{"purpose": "batch"}, content)
	return a.want(http.StatusOK, http.MethodPost, "/v1/files", body, "Content-Type", kind).str("id")
}

// form is a multipart body with fields and a file.
func form(fields map[string]string, content string) (body, kind string) {
	var b bytes.Buffer
	const boundary = "b0undary"
	for name, v := range fields {
		fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", boundary, name, v)
	}
	fmt.Fprintf(&b, "--%[1]s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\r\n%[2]s\r\n--%[1]s--\r\n", boundary, content)
	return b.String(), "multipart/form-data; boundary=" + boundary
}

// lines is the input of a batch with n requests.
func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"custom_id":"r%d","method":"POST","url":"/v1/chat/completions","body":{"model":"m","n":%d}}`+"\n", i, i)
	}
	return b.String()
}

// batch makes a batch of an input and returns its ID.
func (a *app) batch(input string) string {
	a.tb.Helper()
	return a.want(http.StatusOK, http.MethodPost, "/v1/batches",
		`{"input_file_id":"`+a.upload(input)+`","endpoint":"/v1/chat/completions","completion_window":"24h"}`).str("id")
}

// ended waits for a batch's end and returns it.
func (a *app) ended(id string) object {
	a.tb.Helper()
	var o object
	a.eventually("the batch ends", func() bool {
		o = a.want(http.StatusOK, http.MethodGet, "/v1/batches/"+id, "")
		switch o.str("status") {
		case "completed", "failed", "expired", "cancelled":
			return true
		}
		return false
	})
	return o
}

// counts is the request_counts of a batch.
func (o object) counts() [3]int {
	c, _ := o["request_counts"].(map[string]any)
	n := func(name string) int { f, _ := c[name].(float64); return int(f) }
	return [3]int{n("total"), n("completed"), n("failed")}
}

// content reads the lines of a file.
func (a *app) content(id string) []object {
	a.tb.Helper()
	w := a.do(http.MethodGet, "/v1/files/"+id+"/content", "")
	require.Equal(a.tb, http.StatusOK, w.Code, w.Body)
	var all []object
	for line := range strings.Lines(w.Body.String()) {
		var o object
		require.NoError(a.tb, json.Unmarshal([]byte(line), &o), line)
		all = append(all, o)
	}
	return all
}

// events collects what it is told.
type events struct {
	mu  sync.Mutex
	all []queue.Event
}

func (e *events) on(_ context.Context, one queue.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, one)
}

func (e *events) of(kind queue.Kind) (out []queue.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, one := range e.all {
		if one.Kind == kind {
			out = append(out, one)
		}
	}
	return out
}
