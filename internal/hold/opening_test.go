package hold_test

import (
	"io"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/hold"
	"github.com/stretchr/testify/require"
)

// Events of models.
const (
	role    = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
	hello   = "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n"
	done    = "data: [DONE]\n\n"
	ping    = ": ping\n\n"
	busy    = "data: {\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"code\":500}}\n\n"
	unfit   = "data: {\"error\":{\"message\":\"too long\",\"type\":\"invalid_request_error\",\"code\":null}}\n\n"
	started = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\n"
	created = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null,\"output\":[]}}\n\n"
)

// Every opening is judged alike, wherever it is cut.
func TestStreams(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stream string
		passes bool
	}{
		"content":                {role + hello + done, true},
		"an error after content": {hello + busy, true},
		"reasoning":              {"data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n", true},
		"the call of a tool":     {"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":\"{}\"}}]}}]}\n\n", true},
		"Anthropic":              {started + "data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"hi\"}}\n\n", true},
		"responses":              {created + "data: {\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}\n\n", true},
		"nothing to say":         {role + done, true},
		"Anthropic says nothing": {started + "data: {\"type\":\"message_stop\"}\n\n", true},
		"an empty error":         {strings.Replace(hello, "{", "{\"error\":\"\",", 1), true},
		"a null error":           {strings.Replace(hello, "{", "{\"error\":null,", 1), true},
		"CRLF":                   {strings.ReplaceAll(role+hello, "\n", "\r\n"), true},
		"CR":                     {strings.ReplaceAll(role+hello, "\n", "\r"), true},
		"a byte order mark":      {"\ufeff" + hello, true},
		"data on two lines":      {"data: {\"choices\":[\ndata: {\"delta\":{\"content\":\"a\"}}]}\n\n", true},

		"other events":          {"data: news\n\n", true},
		"other JSON":            {"event: x\ndata: {\"a\":1}\n\n", true},
		"an array":              {"data: [1]\n\n", true},
		"JSON-RPC":              {"event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n", true},
		"an error of JSON-RPC":  {"data: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32601,\"message\":\"no such method\"}}\n\n", true},
		"own fault":             {role + unfit, true},
		"own fault, Anthropic":  {"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"x\"}}\n\n", true},
		"own fault, vLLM":       {"data: {\"object\":\"error\",\"message\":\"too long\",\"type\":\"BadRequestError\",\"code\":400}\n\n", true},
		"own fault, over CR":    {strings.ReplaceAll(unfit, "\n", "\r"), true},
		"comments without end":  {strings.Repeat(ping, hold.BufferSize/len(ping)+1), true},
		"an event without end":  {"data: {\"choices\":[{\"delta\":{\"content\":\"" + strings.Repeat("a", hold.BufferSize), true},
		"content after 32 KiB":  {strings.Repeat(ping, hold.BufferSize/len(ping)+1) + hello, true},
		"an error after 32 KiB": {strings.Repeat(ping, hold.BufferSize/len(ping)+1) + busy, true},

		"an error":                    {busy, false},
		"an error after the role":     {ping + role + busy, false},
		"an error and then content":   {busy + hello, false},
		"an error over CR":            {strings.ReplaceAll(busy, "\n", "\r"), false},
		"an error, Anthropic":         {started + "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\n", false},
		"an error, vLLM":              {"data: {\"object\":\"error\",\"message\":\"dead\",\"code\":500}\n\n", false},
		"an error, responses":         {created + "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\"}}}\n\n", false},
		"an error that is a string":   {"data: {\"error\":\"out of memory\"}\n\n", false},
		"an error that is no JSON":    {"event: error\ndata: out of memory\n\n", false},
		"too many requests":           {"data: {\"error\":{\"message\":\"x\",\"code\":429}}\n\n", false},
		"empty":                       {"", false},
		"only a role":                 {role, false},
		"only pings":                  {ping + ping, false},
		"only the end":                {done, false},
		"content that did not arrive": {role + strings.TrimSuffix(hello, "\n"), false},
		"no events":                   {"<html>502 Bad Gateway</html>\n\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if len(c.stream) > 1000 {
				require.Equal(t, c.passes, passes(t, events, io.EOF, c.stream))
				return
			}
			cuts(c.stream, func(pieces ...string) {
				require.Equal(t, c.passes, passes(t, events, io.EOF, pieces...), "%q", pieces)
			})
		})
	}
}

// A stream that breaks fails as long as it has no content.
func TestBrokenStreams(t *testing.T) {
	t.Parallel()
	const stream = ping + role + hello
	for i := range len(stream) {
		require.False(t, passes(t, events, io.ErrUnexpectedEOF, stream[:i]), i)
	}
	cuts(stream, func(pieces ...string) {
		require.True(t, passes(t, events, io.ErrUnexpectedEOF, pieces...), "%q", pieces)
	})
}

func TestJSON(t *testing.T) {
	t.Parallel()
	const whole = `{"choices":[{"message":{"content":"hello"}}]}`
	for name, c := range map[string]struct {
		body   string
		passes bool
	}{
		"an answer":            {whole, true},
		"with white space":     {"\r\n " + whole + "\n", true},
		"with a mark":          {"\ufeff" + whole, true},
		"of any kind":          {`{"a":[1,{"b":null}]}`, true},
		"an array":             {`[1,2]`, true},
		"a string":             {`"a"`, true},
		"many":                 {"{\"a\":1}\n{\"a\":2}\n", true},
		"as Python writes it":  {`{"logprob":NaN,"choices":[]}`, true},
		"nothing":              {"", true},
		"white space":          {" \n", true},
		"a null error":         {`{"error":null,"output":[]}`, true},
		"an empty error":       {`{"error":"","object":"list"}`, true},
		"its text fails":       {`{"error":"no such dog","dogs":[]}`, true},
		"own fault":            {`{"error":{"message":"too long","type":"invalid_request_error"}}`, true},
		"own fault by code":    {`{"error":{"message":"too long","code":400}}`, true},
		"an error of JSON-RPC": {`{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"x"}}`, true},
		"an error and text":    {`{"choices":[{"message":{"content":"hel"}}],"error":{"message":"x","code":500}}`, true},
		"long":                 {`{"a":"` + strings.Repeat("a", hold.BufferSize) + `"}`, true},
		"long and broken":      {`{"a":"` + strings.Repeat("a", hold.BufferSize), true},

		"an error":            {`{"error":{"message":"out of memory","type":"server_error","code":500}}`, false},
		"an error, Anthropic": {`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, false},
		"an error, vLLM":      {`{"object":"error","message":"dead","type":"InternalServerError","code":500}`, false},
		"HTML":                {"<html>502 Bad Gateway</html>", false},
		"garbage":             {"\x00\x01\xff\xfe", false},
		"cut":                 {whole[:len(whole)-3], false},
		"an array, cut":       {"[1,", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if len(c.body) > 1000 {
				require.Equal(t, c.passes, passes(t, jsonType, io.EOF, c.body))
				return
			}
			cuts(c.body, func(pieces ...string) {
				require.Equal(t, c.passes, passes(t, jsonType, io.EOF, pieces...), "%q", pieces)
				require.False(t, passes(t, jsonType, io.ErrUnexpectedEOF, pieces...), "%q", pieces)
			})
		})
	}
}
