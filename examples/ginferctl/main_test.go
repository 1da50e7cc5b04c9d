package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/queue"
	batchapi "github.com/ginfer/ginfer/queue/batch"
	"github.com/ginfer/ginfer/queue/embedded"
	jobsapi "github.com/ginfer/ginfer/queue/jobs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(), goleak.Cleanup(func(code int) { os.Exit(code) }))
}

// background runs a loop until the test ends.
func background(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-done)
	})
}

// gateway is one with a queue. A body with "fail" fails until it is healed.
func gateway(t *testing.T) (url string, heal func()) {
	t.Helper()
	var healed atomic.Bool
	store, err := embedded.New(embedded.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	background(t, store.Run)
	q, err := queue.New(queue.Config{
		Connect: store.Connect, Attempts: 2, Backoff: time.Millisecond, Lease: 2 * time.Second,
		Owner: func(c *gin.Context) (string, error) { return c.GetHeader("Authorization"), nil },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			if strings.Contains(string(b), "fail") && !healed.Load() {
				w.WriteHeader(http.StatusInternalServerError)
			}
			_, _ = w.Write(b)
		}),
	})
	require.NoError(t, err)
	batches, err := batchapi.New(batchapi.Config{Queue: q})
	require.NoError(t, err)
	singles, err := jobsapi.New(jobsapi.Config{Queue: q})
	require.NoError(t, err)
	background(t, q.Run)
	r := gin.New()
	r.Use(func(c *gin.Context) {
		if c.GetHeader("Authorization") != "Bearer t0ken" {
			apierror.OpenAI(c, &apierror.Error{Status: http.StatusUnauthorized, Code: "invalid_api_key", Message: "The credential is not valid."})
		}
	})
	batches.Routes(r.Group("/v1"))
	singles.Routes(r.Group("/v1"))
	q.AdminRoutes(r.Group("/admin"))
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	require.Eventually(t, func() bool { st, _ := q.Status(t.Context()); return st.Connected }, 10*time.Second, 5*time.Millisecond)
	return s.URL, func() { healed.Store(true) }
}

// call runs the command and returns what it wrote.
func call(t *testing.T, url, in string, args ...string) (out, info string, err error) {
	t.Helper()
	var o, i bytes.Buffer
	env := map[string]string{"GINFER_URL": url + "/v1", "GINFER_ADMIN_URL": url + "/admin", "GINFER_TOKEN": "t0ken"}
	c := &cli{env: func(name string) string { return env[name] }, in: strings.NewReader(in), out: &o, info: &i, poll: 5 * time.Millisecond}
	tr := http.DefaultTransport.(*http.Transport)
	defer tr.CloseIdleConnections()
	err = c.run(t.Context(), args)
	return o.String(), i.String(), err
}

// good is call for what has to work.
func good(t *testing.T, url, in string, args ...string) (out, info string) {
	t.Helper()
	out, info, err := call(t, url, in, args...)
	require.NoError(t, err, "%s%s", out, info)
	return out, info
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "in.jsonl")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func line(id, prompt string) string {
	return fmt.Sprintf(`{"custom_id":%q,"method":"POST","url":"/v1/chat/completions","body":{"prompt":%q}}`+"\n", id, prompt)
}

func TestBatch(t *testing.T) {
	url, _ := gateway(t)
	in := write(t, line("a", "x")+line("b", "fail")+line("c", "y"))
	out, info := good(t, url, "", "batch", "submit", in, "-watch")
	id := strings.TrimSpace(out)
	assert.Contains(t, info, "3/3")
	assert.Contains(t, info, "completed: 2 of 3 done, 1 failed")

	out, _ = good(t, url, "", "batch", "results", id)
	assert.Equal(t, 2, strings.Count(out, "\n"))
	assert.Contains(t, out, `"custom_id":"a"`)
	to := filepath.Join(t.TempDir(), "errors.jsonl")
	good(t, url, "", "batch", "results", "-errors", "-o", to, id)
	b, err := os.ReadFile(to)
	require.NoError(t, err)
	assert.Contains(t, string(b), `"custom_id":"b"`)
	out, _ = good(t, url, "", "batch", "list")
	assert.Contains(t, out, id)
	out, _ = good(t, url, "", "batch", "get", id)
	assert.Contains(t, out, `"object": "batch"`)
	_, _, err = call(t, url, "", "batch", "cancel", id)
	require.ErrorContains(t, err, "Cannot cancel")

	out, info, err = call(t, url, "", "batch", "submit", write(t, line("a", "x")+"{"), "-watch")
	require.ErrorIs(t, err, errFailed)
	assert.Contains(t, info, "line 2: This line is not parseable")
	_, info = good(t, url, "", "batch", "results", strings.TrimSpace(out))
	assert.Contains(t, info, "there are none")
}

func TestJobs(t *testing.T) {
	url, heal := gateway(t)
	out, info := good(t, url, `{"prompt":"x"}`, "jobs", "submit", "-", "-wait", "-priority", "high", "-expires", "1h")
	assert.JSONEq(t, `{"prompt":"x"}`, out)
	first := strings.TrimSpace(info)
	out, _ = good(t, url, "", "jobs", "submit", write(t, `{"prompt":"fail"}`), "-key", "k")
	id := strings.TrimSpace(out)
	again, _ := good(t, url, "", "jobs", "submit", write(t, `{"prompt":"fail"}`), "-key", "k")
	assert.Equal(t, out, again)
	_, _, err := call(t, url, "", "jobs", "wait", id)
	require.ErrorContains(t, err, "500")
	out, _ = good(t, url, "", "jobs", "list", "-limit", "1")
	assert.Contains(t, out, id)
	assert.NotContains(t, out, first)

	var letter string
	require.Eventually(t, func() bool {
		out, _ = good(t, url, "", "dead", "list")
		rows := strings.Split(strings.TrimSpace(out), "\n")
		letter, _, _ = strings.Cut(rows[len(rows)-1], " ")
		return len(rows) == 2
	}, 10*time.Second, 10*time.Millisecond)
	assert.Contains(t, out, "status 500")
	heal()
	out, _ = good(t, url, "", "dead", "replay", "all")
	assert.Equal(t, letter+" "+id+"\n", out)
	out, _ = good(t, url, "", "jobs", "wait", id)
	assert.JSONEq(t, `{"prompt":"fail"}`, out)
	_, _, err = call(t, url, "", "dead", "delete", letter)
	require.ErrorContains(t, err, "404")
	out, _ = good(t, url, "", "jobs", "get", id)
	assert.Contains(t, out, `"status": "completed"`)
	_, _, err = call(t, url, "", "jobs", "cancel", id)
	require.ErrorContains(t, err, "job_finished")
	out, _ = good(t, url, "", "status")
	assert.Contains(t, out, `"connected": true`)
}

func TestErrors(t *testing.T) {
	url, _ := gateway(t)
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"a file that is not there", []string{"batch", "submit", "/none"}, "no such file"},
		{"a bad token", []string{"jobs", "list", "-token", "x"}, "The credential is not valid. (invalid_api_key, status 401)"},
		{"an unknown batch", []string{"batch", "watch", "batch_x"}, "There is no such batch"},
		{"no JSON", []string{"jobs", "submit", "-"}, "not JSON"},
		{"no gateway", []string{"jobs", "submit", write(t, "{}"), "-url", "http://127.0.0.1:1"}, "refused"},
	}
	for _, tt := range tests {
		_, _, err := call(t, url, "{", tt.args...)
		require.ErrorContains(t, err, tt.want, tt.name)
		assert.Equal(t, 1, exitCode(err), tt.name)
	}
	_, info, err := call(t, url, "", "help")
	require.NoError(t, err)
	assert.Contains(t, info, "batch watch ID")
	_, info, err = call(t, url, "", "batch", "watch", "-h")
	require.Error(t, err)
	assert.Zero(t, exitCode(err))
	assert.Contains(t, info, "usage: ginferctl batch watch ID")
}

// What is no command, argument or flag is refused, with the usage.
func TestWrongArguments(t *testing.T) {
	for name, tt := range map[string]struct {
		args        []string
		want, usage string
	}{
		"nothing":               {nil, "no such command", "usage: ginferctl COMMAND"},
		"an unknown command":    {[]string{"foo"}, "no such command", "usage: ginferctl COMMAND"},
		"an unknown subcommand": {[]string{"batch", "eat"}, "no such command", "usage: ginferctl COMMAND"},
		"a word after help":     {[]string{"help", "batch"}, "no such command", "usage: ginferctl COMMAND"},
		"what begins like help": {[]string{"-host"}, "no such command", "usage: ginferctl COMMAND"},
		"no file":               {[]string{"batch", "submit"}, "wrong number", "usage: ginferctl batch submit FILE"},
		"a word too many":       {[]string{"jobs", "list", "foo"}, "wrong number", "usage: ginferctl jobs list"},
		"a word after a flag":   {[]string{"status", "-limit", "1", "foo"}, "wrong number", "usage: ginferctl status"},
		"an unknown flag":       {[]string{"jobs", "list", "-x"}, "not defined", "usage: ginferctl jobs list"},
	} {
		_, info, err := call(t, "http://127.0.0.1:1", "", tt.args...)
		require.ErrorContains(t, err, tt.want, name)
		assert.Contains(t, info, tt.usage, name)
		assert.Equal(t, 2, exitCode(err), name)
	}
}

// What others wrote can't move the cursor.
func TestPlain(t *testing.T) {
	assert.Equal(t, "a?[31mb?", plain("a\x1b[31mb\u009b"))
}
