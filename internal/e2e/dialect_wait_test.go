package e2e_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/faulty"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// slowChunks is a response with a pause before each chunk.
func slowChunks(media string, pause time.Duration, parts ...string) faulty.Response {
	a := faulty.Response{faulty.Say(faulty.Head(media))}
	for _, p := range parts {
		chunk := faulty.Chunk(p)
		a = append(a, faulty.Drip(chunk, len(chunk), pause))
	}
	return append(a, faulty.Say(faulty.Chunk("")))
}

func times(n int, part string) (parts []string) {
	for range n {
		parts = append(parts, part)
	}
	return parts
}

// Any byte is a sign of life, and two timeouts never measure the same wait. All of these last
// longer than each timeout without a pause as long as one.
func TestDialectSignsOfLife(t *testing.T) {
	t.Parallel()
	const pause, limit = 25 * time.Millisecond, 400 * time.Millisecond
	chat := openAIChat().shapes[1]
	message := anthropicMessages().shapes[0]
	ping := typedOf(`{"type":"ping"}`)
	tests := map[string]struct {
		dialectRequest

		media    string
		timeouts proxy.Timeouts
		waits    []string // before content
		rest     string
	}{
		"comments, past the time of prefetch": {chat.dialectRequest, eventMedia, proxy.Timeouts{Hold: pause, Idle: limit}, times(24, ": ping\n\n"), chat.whole()},
		"comments, within it":                 {chat.dialectRequest, eventMedia, proxy.Timeouts{Hold: time.Minute, Idle: limit}, times(24, ": ping\n\n"), chat.whole()},
		"comments, longer than first_byte":    {chat.dialectRequest, eventMedia, proxy.Timeouts{Hold: pause, FirstByte: limit}, times(24, ": ping\n\n"), chat.whole()},
		"pings of Anthropic":                  {message.dialectRequest, eventMedia, proxy.Timeouts{Hold: pause, Idle: limit}, times(24, ping), message.whole()},
		"white space before JSON":             {openAIChatJSON().shapes[0].dialectRequest, jsonMedia, proxy.Timeouts{Hold: pause, Idle: limit}, times(24, " \n"), openAIChatJSON().shapes[0].whole()},
		"white space, longer than first_byte": {openAIChatJSON().shapes[0].dialectRequest, jsonMedia, proxy.Timeouts{Hold: pause, FirstByte: limit}, times(24, " \n"), openAIChatJSON().shapes[0].whole()},
		"no prefetch":                         {chat.dialectRequest, eventMedia, proxy.Timeouts{Hold: -1, Idle: limit, FirstByte: limit}, times(24, ": ping\n\n"), chat.whole()},
	}
	for name, tt := range tests {
		scenario(t, name, func(t *testing.T, v *findings) {
			t.Helper()
			plan := faulty.InTurn(slowChunks(tt.media, pause, append(tt.waits, tt.rest)...))
			g := dialectSetup{dialectLines: newDialectLines(t), urls: []string{faulty.Start(t, "a", plan).URL}, timeouts: tt.timeouts}.start(t)
			got := g.send(t, tt.dialectRequest)
			assert.Empty(v, isWhole(got, "200", strings.Join(tt.waits, "")+tt.rest), "%d %v %q", got.status, got.err, got.body)
			assert.Equal(v, "success", got.outcome)
			assert.Len(v, plan.Calls(), 1)
		})
	}
}

// After the prefetch time everything passes at once, including JSON.
func TestDialectPassesAtOnceWhenPrefetchIsOver(t *testing.T) {
	t.Parallel()
	half, rest := halves(openAIChatJSON().shapes[0].whole())
	for name, tt := range map[string]struct{ media, first, rest string }{
		"white space before JSON": {jsonMedia, " \n", half + rest},
		"half of JSON":            {jsonMedia, half, rest},
		"a comment":               {eventMedia, ": ping\n\n", chatStream()},
		"a role":                  {eventMedia, openAIChat().shapes[1].opening, chatStream()},
		"a line of JSON":          {"application/x-ndjson", ollamaChat().shapes[0].content, ollamaChat().shapes[0].finish},
	} {
		scenario(t, name, func(t *testing.T, v *findings) {
			t.Helper()
			seen := make(chan struct{})
			up := startScripted(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
				w.Header().Set("Content-Type", tt.media)
				_, _ = io.WriteString(w, tt.first)
				w.(http.Flusher).Flush()
				select {
				case <-seen:
				case <-time.After(time.Second):
				}
				_, _ = io.WriteString(w, tt.rest)
			})
			g := up.gateway(t, dialectSetup{timeouts: proxy.Timeouts{Hold: 20 * time.Millisecond}})
			begun := time.Now()
			res, err := g.setup.client.Post(g.URL+chatPath, jsonMedia, strings.NewReader(chatOf("m", "").body))
			require.NoError(t, err)
			defer func() { _ = res.Body.Close() }()
			r := bufio.NewReader(res.Body)
			_, err = r.Peek(len(tt.first))
			require.NoError(t, err)
			assert.Less(v, time.Since(begun), 800*time.Millisecond, "the client has it while the upstream waits")
			close(seen)
			all, err := io.ReadAll(r)
			require.NoError(t, err)
			assert.Equal(v, tt.first+tt.rest, string(all))
		})
	}
}

// The stall timeout for text does not apply to tools, searches and code.
func TestDialectPaceOfOnePhase(t *testing.T) {
	t.Parallel()
	const silence = 3 * time.Second // beyond the pace that a busy machine has
	limits := proxy.Timeouts{Stall: 250 * time.Millisecond, Idle: 5 * time.Second}
	word := chatWords("", "word")
	tool := dataEvents(chatChunk(`"delta":{"tool_calls":[{"index":0,"id":"call_9","type":"function","function":{"name":"greet","arguments":""}}]},"finish_reason":null`, ""))
	rest := dataEvents(chatChunk(`"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]},"finish_reason":null`, ""), chatChunk(`"delta":{},"finish_reason":"tool_calls"`, "")) + doneEvent
	tools := `"tools":[{"type":"function","function":{"name":"greet","parameters":{"type":"object"}}}],`
	message := anthropicMessages().shapes[3]
	text := typedOf(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"word"}}`)
	start := anthropicMessages().shapes[0].opening
	stop := typedOf(`{"type":"content_block_stop","index":0}`)
	responses := openAIResponses().shapes[0]
	delta := typedOf(`{"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_68","output_index":0,"content_index":0,"delta":"word"}`)
	search := typedOf(`{"type":"response.output_item.added","output_index":1,"item":{"id":"ws_1","type":"web_search_call","status":"in_progress"}}`, `{"type":"response.web_search_call.searching","output_index":1,"item_id":"ws_1"}`)
	tests := map[string]struct {
		dialectRequest

		opening, word, before, after string
		cut                          bool
	}{
		"a tool call that has begun":              {chatOf("m", `"stream":true,`+tools), "", word, tool, rest, false},
		"text, with tools in the request":         {chatOf("m", `"stream":true,`+tools), "", word, "", tool + rest, false},
		"a content block that ended":              {message.dialectRequest, start, text, stop, message.content + message.finish + message.marker, false},
		"a tool of Anthropic that has begun":      {message.dialectRequest, start, text, stop + typedOf(`{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_01","name":"greet","input":{}}}`), message.finish + message.marker, false},
		"a search":                                {responses.dialectRequest, responses.opening, delta, search, responses.finish + responses.marker, false},
		"text alone stalls":                       {chatOf("m", `"stream":true,`), "", word, "", rest, true},
		"text alone of Anthropic stalls, no tool": {anthropicRequest(`"stream":true,`), start, text, "", stop, true},
	}
	for name, tt := range tests {
		scenario(t, name, func(t *testing.T, v *findings) {
			t.Helper()
			steps := slowChunks(eventMedia, 2*time.Millisecond, append([]string{tt.opening + tt.word}, times(45, tt.word)...)...)
			if tt.before != "" {
				steps = append(steps[:len(steps)-1], faulty.Say(faulty.Chunk(tt.before)), steps[len(steps)-1])
			}
			late := faulty.Chunk(tt.after) + faulty.Chunk("")
			steps = append(steps[:len(steps)-1], faulty.Drip(late, len(late), silence))
			g := dialectSetup{dialectLines: newDialectLines(t), urls: []string{faulty.Start(t, "a", faulty.InTurn(steps)).URL}, timeouts: limits}.start(t)
			got := g.send(t, tt.dialectRequest)
			if tt.cut {
				v.broken(got)
				assert.Equal(v, "failure", got.outcome)
				return
			}
			v.noError(got.err)
			assert.True(v, strings.HasSuffix(got.body, tt.before+tt.after), "%.300q", got.body[max(0, len(got.body)-300):])
			assert.Equal(v, "success", got.outcome)
		})
	}
}

// The defaults are longer than the usual silences of servers.
func TestDialectDefaultLimits(t *testing.T) {
	t.Parallel()
	p, err := proxy.New(proxy.Config{Transport: http.DefaultTransport})
	require.NoError(t, err)
	scenario(t, "idle", func(_ *testing.T, v *findings) { assert.Equal(v, 5*time.Minute, p.Timeouts().Idle) })
	scenario(t, "stall", func(_ *testing.T, v *findings) { assert.Equal(v, time.Minute, p.Timeouts().Stall) })
}
