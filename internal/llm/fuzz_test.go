package llm_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/stretchr/testify/require"
)

// FuzzScanner splits a response anywhere (the bytes of cuts are the lengths): the results
// stay the same.
func FuzzScanner(f *testing.F) {
	for _, e := range corpus() {
		f.Add(e.body, uint8(e.api), uint8(len(e.contentType)%2), []byte{1, 0, 7, 30, 2})
	}
	for _, tt := range dialectCases() {
		f.Add(tt.body, uint8(tt.api), formOf(tt.contentType), []byte{3, 1, 1, 9})
	}
	f.Fuzz(func(t *testing.T, body string, api, form uint8, cuts []byte) {
		of := llm.API(api) % (llm.Free + 1)
		contentType := []string{jsonType, streamType, linesType}[form%3]
		whole := findAll(of, contentType, body)
		var pieces []string
		rest := body
		for _, n := range cuts {
			n := min(int(n), len(rest))
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		require.Equal(t, whole, findAll(of, contentType, append(pieces, rest)...))

		u := whole.usage
		require.Equal(t, whole.known, !u.Estimated)
		require.GreaterOrEqual(t, u.Input, u.Cached+u.CacheWritten)
		require.GreaterOrEqual(t, u.Output, u.Reasoning)
		require.GreaterOrEqual(t, min(u.Cached, u.CacheWritten, u.Reasoning, whole.delivered-whole.events), int64(0))
		if contentType == jsonType && isObject([]byte(body)) {
			require.True(t, whole.ended, "valid JSON is read to its end")
			require.False(t, whole.cut)
			require.False(t, whole.notJSON)
		}
	})
}

func formOf(contentType string) uint8 {
	switch contentType {
	case jsonType:
		return 0
	case streamType:
		return 1
	default:
		return 2
	}
}

// FuzzRequest compares with other parsers of the same body.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		`{"model":"llama-3","stream":true,"max_tokens":64,"n":2,"messages":[{"role":"user","content":"Hello"}]}`,
		`{"messages":[{"content":[{"source":{"type":"base64","data":"aGk="}},{"image_url":{"url":"data:,"}}]}],"model":"\u0061"}`,
		`{"input":[[1,2],[3]],"model":null}`, `{"model":"a","Model":"b"}`, `{"model":"a","model":"b"}`, "\ufeff{}", `[1]`, `{"model":01}`,
		`{"stream_options":{"include_usage":true},"tools":[` + tool + `],"response_format":` + schema + `,"messages":[{"content":[` + image + `]}]}`,
		`{"text":{"format":{"type":"json_schema"}},"guided_json":"{}","structured_outputs":{"json":{}},"input":[{"type":"input_image","image_url":"x"}]}`,
		`{"contents":[{"parts":[{"text":"a"},{"inlineData":{"data":"aGk="}}]}]}`,
	} {
		f.Add("/v1/chat/completions", jsonType, []byte(seed))
	}
	f.Add("/v1/audio/transcriptions", `multipart/form-data; boundary=x`, []byte("--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nw\r\n--x--\r\n"))
	f.Fuzz(func(t *testing.T, path, contentType string, body []byte) {
		got := llm.ReadRequest(llm.Head{Method: http.MethodPost, Path: path, ContentType: contentType}, body)
		checkSpans(t, got, body)
		got = readBody(body)
		checkSpans(t, got, body)
		require.GreaterOrEqual(t, got.N, int64(1))
		require.GreaterOrEqual(t, min(got.MaxOutput, got.InputBytes), int64(0))
		if !isObject(body) || !utf8.Valid(body) {
			return
		}
		require.True(t, got.JSON, "valid JSON is read to its end")
		model, err := llm.String(body, "model")
		require.Equal(t, model, got.Model)
		for _, fault := range []error{llm.ErrDuplicate, llm.ErrType, llm.ErrSyntax} {
			require.Equal(t, errors.Is(err, fault), errors.Is(got.ModelFault, fault), "%v", fault)
		}
		if bytes.IndexByte(body, '\\') < 0 {
			checkNeeds(t, body, got)
		}
	})
}

// checkSpans inserts members at the spans that were found: the body is still JSON.
func checkSpans(t *testing.T, got *llm.Request, body []byte) {
	t.Helper()
	for _, at := range []llm.Span{got.ModelAt, got.StreamOptionsAt, got.IncludeUsageAt} {
		require.True(t, at.IsZero() || 0 < at.Start && at.Start < at.End && at.End < len(body))
		if isObject(body) && !at.IsZero() {
			require.True(t, json.Valid(at.Of(body)), "%q", at.Of(body))
		}
	}
	if isObject(body) && got.JSON {
		member := `"x":1`
		if !got.Bare {
			member += ","
		}
		with := string(body[:got.MemberAt]) + member + string(body[got.MemberAt:])
		require.True(t, json.Valid([]byte(with)), "%q", with)
	}
}

// checkNeeds compares with encoding/json, for bodies without ambiguous members: with one of
// each name.
func checkNeeds(t *testing.T, body []byte, got *llm.Request) {
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

// FuzzClassify: every error has a kind with a name, independent of the case of its letters.
func FuzzClassify(f *testing.F) {
	f.Add(429, "rate_limit_error", "rate_limit_exceeded", "slow down")
	f.Add(400, "", "context_length_exceeded", "")
	f.Add(0, "error", "500", "maximum context length")
	f.Fuzz(func(t *testing.T, status int, typ, code, message string) {
		kind := llm.Classify(status, typ, code, message)
		require.NotEmpty(t, kind.String())
		if isASCII(typ + code + message) {
			require.Equal(t, kind, llm.Classify(status, strings.ToUpper(typ), strings.ToUpper(code), strings.ToUpper(message)))
		}
	})
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > '~' }) < 0
}
