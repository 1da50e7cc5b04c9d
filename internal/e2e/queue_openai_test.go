package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/batch"
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/ginfer/ginfer/queue/jobs"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// runLoop runs a loop until the test ends.
func runLoop(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-done)
	})
}

// queueGateway is a gateway with a queue, made of the library's packages.
type queueGateway struct {
	url   string
	keys  map[string]string
	queue *queue.Queue
}

// newQueueGateway starts a gateway with a queue in front of an upstream.
func newQueueGateway(t *testing.T, upstream http.Handler, limit ratelimit.Config, change func(*queue.Config)) *queueGateway {
	t.Helper()
	up := newServer(t, upstream)
	target, err := url.Parse(up.URL)
	require.NoError(t, err)
	g := &queueGateway{keys: map[string]string{}}
	file := filepath.Join(t.TempDir(), "keys.json")
	for _, name := range []string{"ann", "bob"} {
		g.keys[name], err = auth.AddKey(file, auth.DefaultPrefix, auth.KeyEntry{Subject: name})
		require.NoError(t, err)
	}
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{File: file})
	require.NoError(t, err)
	authn, err := auth.New(auth.Config{Verifiers: []auth.Verifier{keys}})
	require.NoError(t, err)
	limits, err := ratelimit.New(limit)
	require.NoError(t, err)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	relay, err := proxy.New(proxy.Config{Transport: transport, Target: target})
	require.NoError(t, err)

	chain := gin.New() // the stages of a live request after auth
	chain.POST("/v1/chat/completions", limits.Middleware(), relay.Handler())

	store, err := embedded.New(embedded.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	cfg := queue.Config{
		Connect: store.Connect, Owner: auth.Subject, Tenant: auth.Tenant, Handler: chain,
		Identity: func(c *gin.Context) ([]byte, error) {
			id, ok := auth.FromContext(c.Request.Context())
			if !ok {
				return nil, auth.ErrNoIdentity
			}
			return json.Marshal(id)
		},
		Attach: func(ctx context.Context, b []byte) context.Context {
			var id auth.Identity
			if json.Unmarshal(b, &id) != nil {
				return ctx // then the chain refuses it
			}
			return auth.NewContext(ctx, &id)
		},
		Backoff: 20 * time.Millisecond, MaxBackoff: 200 * time.Millisecond, Lease: 2 * time.Second,
	}
	change(&cfg)
	g.queue, err = queue.New(cfg)
	require.NoError(t, err)
	batches, err := batch.New(batch.Config{Queue: g.queue})
	require.NoError(t, err)
	singles, err := jobs.New(jobs.Config{Queue: g.queue})
	require.NoError(t, err)
	runLoop(t, store.Run)
	runLoop(t, g.queue.Run)
	require.Eventually(t, func() bool { s, _ := g.queue.Status(t.Context()); return s.Connected }, 10*time.Second, 5*time.Millisecond)

	r := gin.New()
	v1 := r.Group("/v1", authn.Middleware())
	batches.Routes(v1)
	singles.Routes(v1)
	s := newServer(t, r)
	g.url = s.URL
	return g
}

func (g *queueGateway) sdk(t *testing.T, user string) openai.Client {
	t.Helper()
	return openai.NewClient(option.WithBaseURL(g.url+"/v1"), option.WithAPIKey(g.keys[user]), option.WithHTTPClient(newClient(t, 4)))
}

// completions is a model. The prompt's prefix selects a refusal or two failures.
type completions struct {
	mu    sync.Mutex
	seen  map[string]int
	auths []string
}

func (m *completions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	var q struct {
		Messages []struct{ Content string } `json:"messages"`
	}
	_ = json.Unmarshal(b, &q)
	prompt := q.Messages[0].Content
	m.mu.Lock()
	m.seen[prompt]++
	n := m.seen[prompt]
	m.auths = append(m.auths, r.Header.Get("Authorization"))
	m.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.HasPrefix(prompt, "bad"):
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":{"message":"No.","type":"invalid_request_error","code":"bad"}}`)
		return
	case strings.HasPrefix(prompt, "busy") && n < 3:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case strings.HasPrefix(prompt, "cut") && n < 3:
		_, _ = io.WriteString(w, `{"id":"half`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = fmt.Fprintf(w, `{"id":"c","object":"chat.completion","model":"demo","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":%q}}],`+
		`"usage":{"prompt_tokens":5,"completion_tokens":4,"total_tokens":9,"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":1}}}`, "re: "+prompt)
}

// input is a batch of prompts.
func input(prompts ...string) string {
	var b strings.Builder
	for i, p := range prompts {
		fmt.Fprintf(&b, `{"custom_id":"r%d","method":"POST","url":"/v1/chat/completions","body":{"model":"demo","messages":[{"role":"user","content":%q}]}}`+"\n", i, p)
	}
	return b.String()
}

func submit(t *testing.T, sdk *openai.Client, in string) *openai.Batch {
	t.Helper()
	file, err := sdk.Files.New(t.Context(), openai.FileNewParams{File: openai.File(strings.NewReader(in), "in.jsonl", "application/jsonl"), Purpose: openai.FilePurposeBatch})
	require.NoError(t, err)
	assert.EqualValues(t, len(in), file.Bytes)
	b, err := sdk.Batches.New(t.Context(), openai.BatchNewParams{
		CompletionWindow: openai.BatchNewParamsCompletionWindow24h, Endpoint: openai.BatchNewParamsEndpointV1ChatCompletions, InputFileID: file.ID,
		Metadata: map[string]string{"team": "a"},
	})
	require.NoError(t, err)
	assert.Equal(t, openai.BatchStatusValidating, b.Status)
	return b
}

// finished polls a batch until it ends.
func finished(t *testing.T, sdk *openai.Client, id string) *openai.Batch {
	t.Helper()
	var b *openai.Batch
	require.Eventually(t, func() bool {
		var err error
		b, err = sdk.Batches.Get(t.Context(), id)
		require.NoError(t, err)
		switch b.Status {
		case openai.BatchStatusCompleted, openai.BatchStatusFailed, openai.BatchStatusExpired, openai.BatchStatusCancelled:
			return true
		case openai.BatchStatusValidating, openai.BatchStatusInProgress, openai.BatchStatusFinalizing, openai.BatchStatusCancelling:
		}
		return false
	}, 30*time.Second, 20*time.Millisecond)
	return b
}

func download(t *testing.T, sdk *openai.Client, id string) string {
	t.Helper()
	res, err := sdk.Files.Content(t.Context(), id)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(b)
}

// The SDK runs a batch from the file to the responses, through auth, limits and proxy.
func TestQueueOpenAISDK(t *testing.T) {
	model := &completions{seen: map[string]int{}}
	g := newQueueGateway(t, model, ratelimit.Config{Key: auth.Subject, Rate: 100, Burst: 5}, func(*queue.Config) {})
	sdk := g.sdk(t, "ann")
	prompts := []string{"one", "busy", "bad", "cut"}
	for i := range 20 {
		prompts = append(prompts, fmt.Sprint("more ", i))
	}
	b := finished(t, &sdk, submit(t, &sdk, input(prompts...)).ID)
	assert.Equal(t, openai.BatchStatusCompleted, b.Status)
	assert.Equal(t, [3]int64{24, 23, 1}, [3]int64{b.RequestCounts.Total, b.RequestCounts.Completed, b.RequestCounts.Failed})
	assert.Equal(t, "a", b.Metadata["team"])
	assert.Positive(t, b.CompletedAt)
	assert.Equal(t, "/v1/chat/completions", b.Endpoint)
	assert.Equal(t, "demo", b.Model)
	assert.Equal(t, [5]int64{5 * 23, 2 * 23, 4 * 23, 23, 9 * 23}, [5]int64{
		b.Usage.InputTokens, b.Usage.InputTokensDetails.CachedTokens, b.Usage.OutputTokens, b.Usage.OutputTokensDetails.ReasoningTokens, b.Usage.TotalTokens,
	}, "of each response once, whatever the number of attempts")

	var got []string
	for line := range strings.Lines(download(t, &sdk, b.OutputFileID)) {
		var l struct {
			CustomID string `json:"custom_id"`
			Response struct {
				StatusCode int                   `json:"status_code"`
				Body       openai.ChatCompletion `json:"body"`
			} `json:"response"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &l))
		require.Equal(t, http.StatusOK, l.Response.StatusCode)
		got = append(got, l.CustomID+" "+l.Response.Body.Choices[0].Message.Content)
	}
	require.Len(t, got, 23)
	assert.Equal(t, []string{"r0 re: one", "r1 re: busy", "r3 re: cut", "r4 re: more 0"}, got[:4], "in order, whole, and when they worked")
	assert.Contains(t, download(t, &sdk, b.ErrorFileID), `"status_code":400`)
	model.mu.Lock()
	for _, a := range model.auths {
		assert.Empty(t, a, "no credential is stored")
	}
	model.mu.Unlock()

	list, err := sdk.Files.List(t.Context(), openai.FileListParams{})
	require.NoError(t, err)
	assert.Len(t, list.Data, 3)
	deleted, err := sdk.Files.Delete(t.Context(), b.OutputFileID)
	require.NoError(t, err)
	assert.True(t, deleted.Deleted)
	_, err = sdk.Files.Get(t.Context(), b.OutputFileID)
	requireStatus(t, err, http.StatusNotFound)
}

func requireStatus(t *testing.T, err error, status int) {
	t.Helper()
	var failed *openai.Error
	require.ErrorAs(t, err, &failed)
	require.Equal(t, status, failed.StatusCode)
}

// Invalid, canceled and other callers' batches are errors of the SDK.
func TestQueueOpenAISDKRefusals(t *testing.T) {
	g := newQueueGateway(t, &completions{seen: map[string]int{}}, ratelimit.Config{Key: auth.Subject, Rate: 1000}, func(cfg *queue.Config) { cfg.Workers = -1 })
	ann, bob := g.sdk(t, "ann"), g.sdk(t, "bob")
	b := finished(t, &ann, submit(t, &ann, input("one")+`{"custom_id":"x"}`).ID)
	assert.Equal(t, openai.BatchStatusFailed, b.Status)
	require.Len(t, b.Errors.Data, 1)
	assert.EqualValues(t, 2, b.Errors.Data[0].Line)
	assert.Equal(t, "missing_required_parameter", b.Errors.Data[0].Code)
	assert.False(t, b.JSON.Usage.Valid())
	assert.False(t, b.JSON.Model.Valid())

	ids := make([]string, 5)
	for i := range ids {
		ids[4-i] = submit(t, &ann, input("one")).ID
	}
	cancelled, err := ann.Batches.Cancel(t.Context(), ids[0])
	require.NoError(t, err)
	assert.Equal(t, openai.BatchStatusCancelling, cancelled.Status)
	assert.Equal(t, openai.BatchStatusCancelled, finished(t, &ann, ids[0]).Status)

	var got []string
	for pages := ann.Batches.ListAutoPaging(t.Context(), openai.BatchListParams{Limit: openai.Int(2)}); pages.Next(); {
		got = append(got, pages.Current().ID)
	}
	assert.Equal(t, append(ids, b.ID), got, "the newest first, over several pages")

	_, err = bob.Batches.Get(t.Context(), ids[1])
	requireStatus(t, err, http.StatusNotFound)
	res, err := bob.Files.Content(t.Context(), b.InputFileID)
	if err == nil {
		_ = res.Body.Close()
	}
	requireStatus(t, err, http.StatusNotFound)
	page, err := bob.Batches.List(t.Context(), openai.BatchListParams{})
	require.NoError(t, err)
	assert.Empty(t, page.Data)
	stranger := openai.NewClient(option.WithBaseURL(g.url+"/v1"), option.WithAPIKey("wrong"), option.WithMaxRetries(0), option.WithHTTPClient(newClient(t, 1)))
	_, err = stranger.Batches.List(t.Context(), openai.BatchListParams{})
	requireStatus(t, err, http.StatusUnauthorized)
}
