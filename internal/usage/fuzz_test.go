package usage_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/ginfer/ginfer/internal/usage"
	"github.com/stretchr/testify/require"
)

// FuzzScanner cuts an answer anywhere (the bytes of cuts are the lengths).
func FuzzScanner(f *testing.F) {
	for _, e := range corpus() {
		f.Add(e.body, e.contentType == streamType, []byte{1, 0, 7, 30, 2})
	}
	f.Fuzz(func(t *testing.T, body string, stream bool, cuts []byte) {
		contentType := jsonType
		if stream {
			contentType = streamType
		}
		whole := scan(contentType, body)
		var pieces []string
		rest := body
		for _, n := range cuts {
			n := min(int(n), len(rest))
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		require.Equal(t, whole, scan(contentType, append(pieces, rest)...))

		u := whole.usage
		require.Equal(t, whole.known, !u.Estimated)
		require.GreaterOrEqual(t, u.Input, u.Cached+u.CacheWritten)
		require.GreaterOrEqual(t, u.Output, u.Reasoning)
		require.GreaterOrEqual(t, min(u.Cached, u.CacheWritten, u.Reasoning, whole.delivered-whole.events), int64(0))
		if !stream && isObject([]byte(body)) {
			require.True(t, whole.ended, "valid JSON is read to its end")
		}
	})
}

// FuzzReadRequest compares with what others make of the same body.
func FuzzReadRequest(f *testing.F) {
	f.Add([]byte(`{"model":"llama-3","stream":true,"max_tokens":64,"n":2,"messages":[{"role":"user","content":"Hello"}]}`))
	f.Add([]byte(`{"messages":[{"content":[{"source":{"type":"base64","data":"aGk="}},{"image_url":{"url":"data:,"}}]}],"model":"\u0061"}`))
	f.Add([]byte(`{"input":[[1,2],[3]],"model":null}`))
	f.Add([]byte(`{"stream_options":{"include_usage":true},"tools":[` + tool + `],"response_format":` + schema + `,"messages":[{"content":[` + image + `]}]}`))
	f.Add([]byte(`{"text":{"format":{"type":"json_schema"}},"guided_json":"{}","structured_outputs":{"json":{}},"input":[{"type":"input_image","image_url":"x"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got := usage.ReadRequest(body)
		require.GreaterOrEqual(t, got.N, int64(1))
		require.GreaterOrEqual(t, min(got.MaxOutput, got.InputBytes), int64(0))
		if !isObject(body) || !utf8.Valid(body) || bytes.IndexByte(body, '\\') >= 0 {
			return
		}
		require.True(t, got.Known, "valid JSON is read to its end")
		checkNeeds(t, body, got)
		if model, err := llm.String(body, "model"); err == nil && len(model) < 128 {
			require.Equal(t, model, got.Model)
		}
	})
}

// checkNeeds finds what can be told without a parser of our own, in a body whose
// members no reader takes for others: with one of each name.
func checkNeeds(t *testing.T, body []byte, got usage.Request) {
	t.Helper()
	if got.Vision {
		require.True(t, bytes.Contains(body, []byte("image")))
	}
	if _, err := llm.Member(body, "functions"); !errors.Is(err, llm.ErrNotFound) {
		return
	}
	at, err := llm.Member(body, "tools")
	if errors.Is(err, llm.ErrNotFound) {
		require.False(t, got.Tools)
	}
	if err != nil {
		return
	}
	var tools []json.RawMessage
	if json.Unmarshal(at.Of(body), &tools) != nil || len(tools) == 0 {
		require.False(t, got.Tools)
	} else if bytes.Contains(tools[0], []byte(`"name":"f`)) {
		require.True(t, got.Tools)
	}
}

func isObject(body []byte) bool {
	return json.Valid(body) && bytes.TrimLeft(body, " \t\r\n")[0] == '{'
}
