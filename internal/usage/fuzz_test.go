package usage_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/ginfer/ginfer/internal/peek"
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
	f.Fuzz(func(t *testing.T, body []byte) {
		got := usage.ReadRequest(body)
		require.GreaterOrEqual(t, got.N, int64(1))
		require.GreaterOrEqual(t, min(got.MaxOutput, got.InputBytes), int64(0))
		if !isObject(body) || !utf8.Valid(body) || bytes.IndexByte(body, '\\') >= 0 {
			return
		}
		if model, err := peek.String(body, "model"); err == nil && len(model) < 128 {
			require.Equal(t, model, got.Model)
		}
	})
}

func isObject(body []byte) bool {
	return json.Valid(body) && bytes.TrimLeft(body, " \t\r\n")[0] == '{'
}
