package llm_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// finding is all that a scanner reports.
type finding struct {
	usage             llm.Usage
	known             bool
	delivered, events int64
	ended, failed     bool
	readable          bool
}

func reset(s *llm.Scanner, api llm.API, contentType string) {
	s.Reset(api, http.Header{"Content-Type": {contentType}})
}

func found(s *llm.Scanner) finding {
	u, known := s.Usage()
	return finding{u, known, s.Delivered(), s.Events(), s.Terminal(), s.Failure() != nil, s.Readable()}
}

func scan(contentType string, pieces ...string) finding {
	return scanAs(llm.Unknown, contentType, pieces...)
}

func scanAs(api llm.API, contentType string, pieces ...string) finding {
	var s llm.Scanner
	reset(&s, api, contentType)
	for _, p := range pieces {
		_, _ = s.Write([]byte(p))
	}
	return found(&s)
}

func (e exchange) finding() finding {
	return finding{e.want, !e.want.Estimated, e.delivered, e.events, !e.unended, e.failed, true}
}

func TestScannerSplitAnywhere(t *testing.T) {
	t.Parallel()
	for _, tt := range corpus() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := tt.finding()
			for _, api := range []llm.API{llm.Unknown, tt.api} {
				require.Equal(t, want, scanAs(api, tt.contentType, tt.body), api)
				require.Equal(t, want, scanAs(api, tt.contentType, strings.Split(tt.body, "")...), "%s, byte by byte", api)
				for i := range tt.body {
					require.Equal(t, want, scanAs(api, tt.contentType, tt.body[:i], "", tt.body[i:]), "%s, cut after %q", api, tt.body[:i])
				}
			}
		})
	}
}

func TestScannerReuse(t *testing.T) {
	t.Parallel()
	var s llm.Scanner
	for _, tt := range corpus() {
		reset(&s, llm.Unknown, tt.contentType)
		_, _ = s.Write([]byte(tt.body[:len(tt.body)/2])) // and stops anywhere
		reset(&s, llm.Unknown, tt.contentType)
		n, err := s.Write([]byte(tt.body))
		require.NoError(t, err)
		require.Equal(t, len(tt.body), n)
		require.Equal(t, tt.finding(), found(&s), tt.name)
	}
}

func TestScannerUnreadable(t *testing.T) {
	t.Parallel()
	body := `{"usage":{"prompt_tokens":1,"completion_tokens":2}}`
	tests := []struct {
		name     string
		header   http.Header
		body     string
		readable bool
	}{
		{"JSON", http.Header{"Content-Type": {"application/json"}}, body, true},
		{"a JSON dialect", http.Header{"Content-Type": {"application/vnd.x+json ; v=1"}}, body, true},
		{"identity", http.Header{"Content-Type": {jsonType}, "Content-Encoding": {"Identity"}}, body, true},
		{"gzip", http.Header{"Content-Type": {jsonType}, "Content-Encoding": {"gzip"}}, body, false},
		{"many encodings", http.Header{"Content-Type": {streamType}, "Content-Encoding": {"identity", "br"}}, body, false},
		{"another type", http.Header{"Content-Type": {"text/plain"}}, body, false},
		{"no type", http.Header{}, body, false},
		{"an array", http.Header{"Content-Type": {jsonType}}, `[` + body + `]`, false},
		{"no JSON", http.Header{"Content-Type": {jsonType}}, `<html>`, false},
		{"JSON that breaks off", http.Header{"Content-Type": {jsonType}}, `{"usage":{}]`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var s llm.Scanner
			s.Reset(llm.Unknown, tt.header)
			n, err := s.Write([]byte(tt.body))
			require.NoError(t, err)
			require.Equal(t, len(tt.body), n)
			require.Equal(t, tt.readable, s.Readable())
			_, known := s.Usage()
			require.Equal(t, tt.readable, known)
		})
	}
	var unset llm.Scanner
	_, _ = unset.Write([]byte(body))
	assert.False(t, unset.Readable())
}

// Text that a client can make a model write is not usage.
func TestUsageCountsOnlyAtItsPlace(t *testing.T) {
	t.Parallel()
	const fake = `"usage":{"prompt_tokens":1,"completion_tokens":1,"input_tokens":1,"output_tokens":1,"total_tokens":2}`
	quoted, err := json.Marshal(`{` + fake + `}`)
	require.NoError(t, err)
	said := string(quoted)
	for name, body := range map[string]string{
		"content":              `{"choices":[{"message":{"content":` + said + `}}]}`,
		"content after quotes": `{"choices":[{"message":{"content":"\\\"}}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}"}}]}`,
		"content of parts":     `{"choices":[{"message":{"content":[{"text":` + said + `}]}}]}`,
		"delta":                `{"choices":[{"delta":{"content":` + said + `}}]}`,
		"a member of delta":    `{"choices":[{"delta":{` + fake + `}}]}`,
		"a choice":             `{"choices":[{` + fake + `}]}`,
		"an object as choices": `{"choices":{` + fake + `}}`,
		"arguments":            `{"choices":[{"message":{"tool_calls":[{"function":{"arguments":` + said + `}}]}}]}`,
		"arguments in place":   `{"choices":[{"message":{"tool_calls":[{"function":{"arguments":{` + fake + `}}}]}}]}`,
		"a tool's input":       `{"content":[{"type":"tool_use","input":{` + fake + `}}]}`,
		"a block":              `{"content":[{` + fake + `}]}`,
		"an error":             `{"error":{` + fake + `}}`,
		"metadata":             `{"metadata":{` + fake + `}}`,
		"usage in usage":       `{"usage":{` + fake + `}}`,
		"a list of usages":     `{"usage":[{"prompt_tokens":1,"completion_tokens":1}]}`,
		"the names of counts":  `{"prompt_tokens":1,"completion_tokens":1}`,
		"a name as value":      `{"x":"usage","y":{"prompt_tokens":1,"completion_tokens":1}}`,
		"a longer name":        `{"usage` + strings.Repeat("x", 200) + `":{"prompt_tokens":1,"completion_tokens":1}}`,
		"an item":              `{"item":{` + fake + `}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.True(t, json.Valid([]byte(body)))
			for _, got := range []finding{scan(jsonType, body), scan(streamType, "data: "+body+"\n\n")} {
				require.False(t, got.known)
				require.Zero(t, got.usage.Input)
				require.True(t, got.readable)
			}
			require.True(t, scan(jsonType, body).ended)
		})
	}
}

func TestUsageIgnoresInvalidCounts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, usage string
		want        llm.Usage
		known       bool
	}{
		{"whole", `{"prompt_tokens":3,"completion_tokens":2}`, llm.Usage{Input: 3, Output: 2}, true},
		{"no output", `{"prompt_tokens":3,"completion_tokens":0}`, llm.Usage{Input: 3, Output: 0}, true},
		{"the largest", `{"prompt_tokens":1000000000,"completion_tokens":2}`, llm.Usage{Input: 1e9, Output: 2}, true},
		{"output from the total", `{"prompt_tokens":3,"total_tokens":5}`, llm.Usage{Input: 3, Output: 2}, true},
		{"the last of two", `{"prompt_tokens":9,"prompt_tokens":3,"completion_tokens":7,"completion_tokens":2}`, llm.Usage{Input: 3, Output: 2}, true},
		{"no zero after a count", `{"prompt_tokens":3,"prompt_tokens":0,"completion_tokens":2,"completion_tokens":0}`, llm.Usage{Input: 3, Output: 2}, true},
		{"no null after a count", `{"prompt_tokens":3,"prompt_tokens":null,"completion_tokens":2}`, llm.Usage{Input: 3, Output: 2}, true},
		{"escaped names", `{"\u0070rompt_tokens":3,"completion\u005ftokens":2}`, llm.Usage{Input: 3, Output: 2}, true},
		{"parts larger than the whole", `{"input_tokens":3,"output_tokens":2,"input_tokens_details":{"cached_tokens":4},"output_tokens_details":{"reasoning_tokens":4}}`, llm.Usage{Input: 3, Output: 2, Cached: 3, Reasoning: 2}, true},
		{"all zero", `{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}`, llm.Usage{}, false},
		{"zeros of Anthropic", `{"input_tokens":0,"output_tokens":4}`, llm.Usage{Output: 4}, false},
		{"null", `null`, llm.Usage{}, false},
		{"empty", `{}`, llm.Usage{}, false},
		{"no input", `{"completion_tokens":2}`, llm.Usage{Output: 2}, false},
		{"neither output nor total", `{"prompt_tokens":3}`, llm.Usage{Input: 3}, false},
		{"a total less than the input", `{"prompt_tokens":3,"total_tokens":2}`, llm.Usage{Input: 3}, false},
		{"negative", `{"prompt_tokens":3,"completion_tokens":-2}`, llm.Usage{Input: 3}, false},
		{"fractional", `{"prompt_tokens":3,"completion_tokens":2.0}`, llm.Usage{Input: 3}, false},
		{"an exponent", `{"prompt_tokens":3,"completion_tokens":2e1}`, llm.Usage{Input: 3}, false},
		{"a string", `{"prompt_tokens":3,"completion_tokens":"2"}`, llm.Usage{Input: 3}, false},
		{"true", `{"prompt_tokens":3,"completion_tokens":true}`, llm.Usage{Input: 3}, false},
		{"an object", `{"prompt_tokens":3,"completion_tokens":{"completion_tokens":2}}`, llm.Usage{Input: 3}, false},
		{"a list", `{"prompt_tokens":3,"completion_tokens":[2]}`, llm.Usage{Input: 3}, false},
		{"too large", `{"prompt_tokens":3,"completion_tokens":1000000001}`, llm.Usage{Input: 3}, false},
		{"huge", `{"prompt_tokens":3,"completion_tokens":18446744073709551617}`, llm.Usage{Input: 3}, false},
		{"endless", `{"prompt_tokens":3,"completion_tokens":` + strings.Repeat("1", 1000) + `}`, llm.Usage{Input: 3}, false},
		{"a leading zero", `{"prompt_tokens":3,"completion_tokens":02}`, llm.Usage{Input: 3}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.want.Estimated = !tt.known
			got := scan(jsonType, `{"usage":`+tt.usage+`}`)
			require.Equal(t, tt.want, got.usage)
			require.Equal(t, tt.known, got.known)
		})
	}
}

func TestZeroOutputWithTextIsIgnored(t *testing.T) {
	t.Parallel()
	got := scan(jsonType, `{"choices":[{"text":"eight by"}],"usage":{"prompt_tokens":3,"completion_tokens":0}}`)
	require.False(t, got.known)
	require.Equal(t, llm.Usage{Input: 3, Output: 2, Estimated: true}, got.usage)
}

// Long values are neither buffered nor lost.
func TestScannerIsBounded(t *testing.T) {
	piece := append(bytes.Repeat([]byte("x"), 10_000), bytes.Repeat([]byte(`\u0041\"[{: ,`), 10)...)
	tests := []struct {
		name, contentType, before, after string
		size                             int
	}{
		{"50 MB of JSON", jsonType, `{"choices":[{"text":"`, `"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}`, 50 << 20},
		{"50 MB of unknown members", jsonType, `{"x":["`, `"],"usage":{"prompt_tokens":3,"completion_tokens":2}}`, 50 << 20},
		{"a name of 10 MB", jsonType, `{"`, `":0,"usage":{"prompt_tokens":3,"completion_tokens":2}}`, 10 << 20},
		{"a line of 10 MB", streamType, `data: {"choices":[{"text":"`, `"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}` + "\n\n", 10 << 20},
		{"a comment of 10 MB", streamType, `:`, "\ndata: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n", 10 << 20},
		{"the name of a field of 10 MB", streamType, ``, "\ndata: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n", 10 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s llm.Scanner
			reset(&s, llm.Unknown, tt.contentType)
			before, after := []byte(tt.before), []byte(tt.after)
			_, _ = s.Write(before)
			allocs := testing.AllocsPerRun(1, func() {
				for range tt.size / 2 / len(piece) { // it runs twice
					_, _ = s.Write(piece)
				}
			})
			require.Less(t, allocs, 5., "of thousands of pieces; the runtime may have one of its own")
			_, _ = s.Write(after)
			got, known := s.Usage()
			require.True(t, known)
			require.Equal(t, llm.Usage{Input: 3, Output: 2}, got)
		})
	}
}

func TestDeepJSONIsRead(t *testing.T) {
	t.Parallel()
	const deep = 1_000_000
	body := `{"x":` + strings.Repeat(`[`, deep) + strings.Repeat(`]`, deep) + `,"usage":{"prompt_tokens":3,"completion_tokens":2}}`
	require.True(t, scan(jsonType, body).known)
}
