// Package queuetest runs a queue with its jobs and batches in a test.
package queuetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/testkit/recorded"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/batch"
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/ginfer/ginfer/queue/jobs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// StartServer runs a store in the process until the test ends.
func StartServer(tb testing.TB, cfg embedded.Config) *embedded.Server {
	tb.Helper()
	if cfg.Dir == "" {
		cfg.Dir = tb.TempDir()
	}
	s, err := embedded.New(cfg)
	require.NoError(tb, err)
	RunUntilEnd(tb, s.Run)
	return s
}

// RunUntilEnd runs a loop in the background and stops it at the end of the test.
func RunUntilEnd(tb testing.TB, run func(context.Context) error) (stop func()) {
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

// ByHeader is an Owner: the header X-User.
func ByHeader(c *gin.Context) (string, error) { return c.GetHeader("X-User"), nil }

// Echo responds with the request's body, as a model would.
var Echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"echo":%s}`, b)
})

// Setup is the configuration of an App. New sets the Queue of Batch and Jobs.
type Setup struct {
	queue.Config
	Batch batch.Config
	Jobs  jobs.Config
}

// Defaults returns a Setup with short times.
func Defaults(s *embedded.Server) Setup {
	return Setup{Config: queue.Config{
		Connect: s.Connect, Owner: ByHeader, Handler: Echo,
		Lease: 2 * time.Second, Backoff: 20 * time.Millisecond, MaxBackoff: 100 * time.Millisecond, DrainTimeout: 2 * time.Second,
	}}
}

// New returns a queue and its routes.
func New(cfg Setup) (*queue.Queue, http.Handler, error) {
	q, err := queue.New(cfg.Config)
	if err != nil {
		return nil, nil, err
	}
	cfg.Batch.Queue, cfg.Jobs.Queue = q, q
	b, err := batch.New(cfg.Batch)
	if err != nil {
		return nil, nil, err
	}
	j, err := jobs.New(cfg.Jobs)
	if err != nil {
		return nil, nil, err
	}
	r := gin.New()
	v1, admin := r.Group("/v1"), r.Group("/admin")
	b.Routes(v1)
	j.Routes(v1)
	q.AdminRoutes(admin)
	b.AdminRoutes(admin)
	return q, r, nil
}

// App is a running queue with its routes.
type App struct {
	Queue *queue.Queue
	HTTP  http.Handler
	// User is the owner of the requests.
	User string
	// Stop ends the queue's Run and waits for it.
	Stop func()
	tb   testing.TB
}

// NewApp returns an App that does not run.
func NewApp(tb testing.TB, cfg Setup) *App {
	tb.Helper()
	q, routes, err := New(cfg)
	require.NoError(tb, err)
	return &App{tb: tb, Queue: q, HTTP: routes, User: "ann"}
}

// Start runs a queue and waits until it is connected.
func Start(tb testing.TB, cfg Setup) *App {
	tb.Helper()
	a := NewApp(tb, cfg)
	a.Stop = RunUntilEnd(tb, a.Queue.Run)
	a.Eventually("the queue is connected", func() bool { s, _ := a.Queue.Status(context.Background()); return s.Connected })
	return a
}

// Quick starts an App with a server of its own.
func Quick(tb testing.TB, change func(*Setup)) *App {
	tb.Helper()
	cfg := Defaults(StartServer(tb, embedded.Config{}))
	if change != nil {
		change(&cfg)
	}
	return Start(tb, cfg)
}

// As returns the App for another user.
func (a *App) As(user string) *App {
	b := *a
	b.User = user
	return &b
}

// Eventually waits for a condition.
func (a *App) Eventually(what string, f func() bool) {
	a.tb.Helper()
	require.Eventually(a.tb, f, 20*time.Second, 10*time.Millisecond, what)
}

// Do sends a request and returns the response.
func (a *App) Do(method, path, body string, header ...string) *httptest.ResponseRecorder {
	a.tb.Helper()
	r := httptest.NewRequestWithContext(context.Background(), method, path, strings.NewReader(body))
	r.Header.Set("X-User", a.User)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	a.HTTP.ServeHTTP(w, r)
	return w
}

// Object is a JSON object.
type Object map[string]any

// Str returns a string member.
func (o Object) Str(name string) string { s, _ := o[name].(string); return s }

// Want sends a request, requires the status, and decodes the response.
func (a *App) Want(status int, method, path, body string, header ...string) Object {
	a.tb.Helper()
	w := a.Do(method, path, body, header...)
	require.Equal(a.tb, status, w.Code, "%s %s: %s", method, path, w.Body)
	var o Object
	require.NoError(a.tb, json.Unmarshal(w.Body.Bytes(), &o), w.Body)
	return o
}

// Code returns the code of an error.
func (o Object) Code() string {
	e, _ := o["error"].(map[string]any)
	s, _ := e["code"].(string)
	return s
}

// Job is the body of a submission.
func Job(n int) string {
	return fmt.Sprintf(`{"url":"/v1/chat/completions","body":{"model":"m","n":%d}}`, n)
}

// Submit submits a job and returns its ID.
func (a *App) Submit(body string, header ...string) string {
	a.tb.Helper()
	return a.Want(http.StatusAccepted, http.MethodPost, "/v1/jobs", body, header...).Str("id")
}

// Done waits for the end of a job and returns it.
func (a *App) Done(id string) Object {
	a.tb.Helper()
	o := a.Want(http.StatusOK, http.MethodGet, "/v1/jobs/"+id+"?wait=20s", "")
	require.NotContains(a.tb, []string{"queued", "in_progress"}, o.Str("status"), "%v", o)
	return o
}

// Upload stores an input file and returns its ID.
func (a *App) Upload(content string) string {
	a.tb.Helper()
	body, kind := Form(map[string]string{"purpose": "batch"}, content)
	return a.Want(http.StatusOK, http.MethodPost, "/v1/files", body, "Content-Type", kind).Str("id")
}

// Form is a multipart body with fields and a file.
func Form(fields map[string]string, content string) (body, kind string) {
	var b bytes.Buffer
	const boundary = "b0undary"
	for name, v := range fields {
		fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", boundary, name, v)
	}
	fmt.Fprintf(&b, "--%[1]s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\r\n%[2]s\r\n--%[1]s--\r\n", boundary, content)
	return b.String(), "multipart/form-data; boundary=" + boundary
}

// Lines is the input of a batch with n requests.
func Lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"custom_id":"r%d","method":"POST","url":"/v1/chat/completions","body":{"model":"m","n":%d}}`+"\n", i, i)
	}
	return b.String()
}

// Batch creates a batch of an input and returns its ID.
func (a *App) Batch(input string) string {
	a.tb.Helper()
	return a.Want(http.StatusOK, http.MethodPost, "/v1/batches",
		`{"input_file_id":"`+a.Upload(input)+`","endpoint":"/v1/chat/completions","completion_window":"24h"}`).Str("id")
}

// Ended waits for the end of a batch and returns it.
func (a *App) Ended(id string) Object {
	a.tb.Helper()
	var o Object
	a.Eventually("the batch ends", func() bool {
		o = a.Want(http.StatusOK, http.MethodGet, "/v1/batches/"+id, "")
		switch o.Str("status") {
		case "completed", "failed", "expired", "cancelled":
			return true
		}
		return false
	})
	return o
}

// Counts returns the request_counts of a batch.
func (o Object) Counts() [3]int {
	c, _ := o["request_counts"].(map[string]any)
	n := func(name string) int { f, _ := c[name].(float64); return int(f) }
	return [3]int{n("total"), n("completed"), n("failed")}
}

// Content reads the lines of a file.
func (a *App) Content(id string) []Object {
	a.tb.Helper()
	w := a.Do(http.MethodGet, "/v1/files/"+id+"/content", "")
	require.Equal(a.tb, http.StatusOK, w.Code, w.Body)
	var all []Object
	for line := range strings.Lines(w.Body.String()) {
		var o Object
		require.NoError(a.tb, json.Unmarshal([]byte(line), &o), line)
		all = append(all, o)
	}
	return all
}

// Events records events.
type Events struct{ recorded.Events[queue.Event] }

// Of returns the events of a kind.
func (e *Events) Of(kind queue.Kind) []queue.Event {
	return e.Where(func(one queue.Event) bool { return one.Kind == kind })
}

// Gate is a handler that waits until Open, or until its request ends.
type Gate struct {
	Began chan struct{}
	Open  chan struct{}
	// Ended counts the requests that their context ended.
	Ended atomic.Int64
}

// NewGate returns a Gate.
func NewGate() *Gate { return &Gate{Began: make(chan struct{}, 1000), Open: make(chan struct{})} }

// ServeHTTP implements http.Handler.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case g.Began <- struct{}{}:
	default:
	}
	select {
	case <-g.Open:
		_, _ = io.WriteString(w, "{}")
	case <-r.Context().Done():
		g.Ended.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}
}

// UnderWay waits for a batch to be in progress, with a worker in the handler.
func (a *App) UnderWay(g *Gate, id string) {
	a.tb.Helper()
	<-g.Began
	a.Eventually("the batch is in progress", func() bool {
		return a.Want(http.StatusOK, http.MethodGet, "/v1/batches/"+id, "").Str("status") == "in_progress"
	})
}

// Tokens returns the usage of a batch: input, cached, output, reasoning, total.
func (o Object) Tokens() [5]int {
	u, _ := o["usage"].(map[string]any)
	in, _ := u["input_tokens_details"].(map[string]any)
	out, _ := u["output_tokens_details"].(map[string]any)
	n := func(v any) int { f, _ := v.(float64); return int(f) }
	return [5]int{n(u["input_tokens"]), n(in["cached_tokens"]), n(u["output_tokens"]), n(out["reasoning_tokens"]), n(u["total_tokens"])}
}

// SubmitAll submits n jobs from many clients at once.
func SubmitAll(a *App, n int) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				a.Submit(Job(int(i)))
			}
		})
	}
	wg.Wait()
}

// RoundTripper is an http.RoundTripper.
type RoundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f RoundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
