package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A batch of the OpenAI SDK runs through the gateway's own chain. Its output is in order,
// and the private port reports the queue.
func TestBatchByOpenAISDK(t *testing.T) {
	upstream := newServer(t, &completions{seen: map[string]int{}})
	p := start(t, fmt.Sprintf(`{%s, "queue": {"dir": %q}, "upstreams": {"a": {"endpoints": [{"url": %q}]}},
		"groups": [{"path": "/v1", "upstream": "a", "queue": true, "proxy": {"retry_posts": true}}]}`, ports, t.TempDir(), upstream.URL))
	client := openai.NewClient(option.WithBaseURL(p.public+"/v1"), option.WithAPIKey(p.token))
	var lines strings.Builder
	const n = 50
	for i := range n {
		fmt.Fprintf(&lines, `{"custom_id":"q%d","method":"POST","url":"/v1/chat/completions","body":{"model":"m","messages":[{"role":"user","content":"%d"}]}}`+"\n", i, i)
	}
	var file *openai.FileObject
	require.Eventually(t, func() (done bool) { // the queue's store may still be starting
		var err error
		file, err = client.Files.New(t.Context(), openai.FileNewParams{File: openai.File(strings.NewReader(lines.String()), "in.jsonl", "application/jsonl"), Purpose: openai.FilePurposeBatch})
		return err == nil
	}, patience, 50*time.Millisecond)
	batch, err := client.Batches.New(t.Context(), openai.BatchNewParams{InputFileID: file.ID, Endpoint: openai.BatchNewParamsEndpointV1ChatCompletions, CompletionWindow: openai.BatchNewParamsCompletionWindow24h})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		batch, err = client.Batches.Get(t.Context(), batch.ID)
		return err == nil && batch.Status == openai.BatchStatusCompleted
	}, patience, 50*time.Millisecond)
	assert.EqualValues(t, n, batch.RequestCounts.Completed)
	res, err := client.Files.Content(t.Context(), batch.OutputFileID)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	out, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	rows := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	require.Len(t, rows, n)
	for i, row := range rows {
		assert.Contains(t, string(row), fmt.Sprintf(`"custom_id":"q%d"`, i))
		assert.Contains(t, string(row), fmt.Sprintf(`re: %d`, i))
	}
	code, text := p.admin(http.MethodGet, "/admin/queue", "")
	assert.Equal(t, http.StatusOK, code, text)
	_, text = p.admin(http.MethodGet, "/metrics", "")
	assert.Contains(t, text, "gateway_queue")
}

// A queue that a reload adds is available to callers and on the private port.
func TestQueueByReload(t *testing.T) {
	config := func(queue, group string) string {
		return fmt.Sprintf(`{%s, %s "upstreams": {"a": {"endpoints": [{"url": "http://127.0.0.1:1"}]}}, "groups": [{"path": "/v1", "upstream": "a"%s}]}`, ports, queue, group)
	}
	p := start(t, config("", ""))
	code, _ := p.admin(http.MethodGet, "/admin/queue", "")
	require.Equal(t, http.StatusNotFound, code)
	p.write(config(fmt.Sprintf(`"queue": {"dir": %q},`, t.TempDir()), `, "queue": true`))
	require.Eventually(t, func() bool {
		code, _ := p.admin(http.MethodGet, "/admin/queue", "")
		return code == http.StatusOK
	}, patience, 50*time.Millisecond)
	client := openai.NewClient(option.WithBaseURL(p.public+"/v1"), option.WithAPIKey(p.token))
	list, err := client.Batches.List(t.Context(), openai.BatchListParams{})
	require.NoError(t, err)
	assert.Empty(t, list.Data)
}
