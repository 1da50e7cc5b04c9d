package stream_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// strict is an upstream that rejects unknown fields.
type strict struct {
	status int
	body   string
	sent   []string
	always bool // it rejects everything
}

func (s *strict) RoundTrip(r *http.Request) (*http.Response, error) {
	b, _ := io.ReadAll(r.Body)
	s.sent = append(s.sent, string(b))
	if s.always || strings.Contains(string(b), "stream_options") {
		res := response("application/json", strings.NewReader(s.body))
		res.StatusCode = s.status
		return res, nil
	}
	return response("text/event-stream", strings.NewReader(textChunk+lastEvent)), nil
}

// If an upstream rejects the addition, the request is sent without it, and later ones are not
// changed for a while.
func TestRefusedInjection(t *testing.T) {
	t.Parallel()
	for name, up := range map[string]*strict{
		"pydantic": {status: 422, body: `{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}`},
		"OpenAI":   {status: 400, body: `{"error":{"message":"Unknown parameter: 'stream_options'.","type":"invalid_request_error","code":"unknown_parameter"}}`},
		"bare":     {status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m, reported := meter(t)
				rt := m.Transport(up)
				ends := 0
				x := new(exchange.Exchange)
				x.OnEnd(func(*exchange.Attempt, *exchange.End) { ends++ })
				req := chatRequest(exchange.With(t.Context(), x), chatPath, ask)
				assert.Equal(t, textChunk+lastEvent, send(t, rt, req))
				assert.Equal(t, []string{ask}, up.sent[1:], "as the client sent it")
				assert.Equal(t, 2, x.Attempts())
				assert.Equal(t, 2, ends)
				require.Len(t, reported.list(), 2)
				assert.Equal(t, up.status, reported.list()[0].Status)
				assert.Zero(t, reported.list()[0].Input)
				assert.Equal(t, stream.Complete, reported.list()[1].Outcome)
				assert.Equal(t, 2, reported.list()[1].Attempt)

				send(t, rt, chatRequest(t.Context(), chatPath, ask))
				assert.Len(t, up.sent, 3, "remembered")
				send(t, rt, chatRequest(t.Context(), strings.Replace(chatPath, "//a", "//b", 1), ask))
				assert.Len(t, up.sent, 5, "each host for itself")
				time.Sleep(10 * time.Minute)
				send(t, rt, chatRequest(t.Context(), chatPath, ask))
				assert.Len(t, up.sent, 7, "not for ever")
			})
		})
	}
}

// A request that is rejected either way is the client's fault, and no evidence about the addition.
func TestRefusedEitherWay(t *testing.T) {
	t.Parallel()
	up := &strict{status: 400, body: `{"error":{"message":"no such model"}}`, always: true}
	m, _ := meter(t)
	rt := m.Transport(up)
	for i := range 2 {
		assert.Equal(t, up.body, send(t, rt, chatRequest(t.Context(), chatPath, ask)))
		assert.Len(t, up.sent, 2*(i+1))
	}
	send(t, rt, chatRequest(t.Context(), chatPath, askJSON))
	assert.Len(t, up.sent, 5, "nothing was changed, so nothing is repeated")
}

// An upstream is remembered even among many others, and the number of those is bounded.
func TestManyRefusals(t *testing.T) {
	t.Parallel()
	up := &strict{status: 400}
	m, _ := meter(t)
	rt := m.Transport(up)
	for i := range 300 {
		send(t, rt, chatRequest(t.Context(), fmt.Sprintf("http://h%d/v1/chat/completions", i), ask))
	}
	before := len(up.sent)
	send(t, rt, chatRequest(t.Context(), "http://h299/v1/chat/completions", ask))
	assert.Len(t, up.sent, before+1)
}

func TestNoInjectFor(t *testing.T) {
	t.Parallel()
	up := &strict{status: 400}
	m, _ := meter(t, func(c *stream.MeterConfig) {
		c.NoInjectFor = func(r *http.Request) bool { return r.URL.Host == "a" }
	})
	send(t, m.Transport(up), chatRequest(t.Context(), chatPath, ask))
	assert.Equal(t, []string{ask}, up.sent)
}

// Usage that a server sends unasked stays, and so does all that a cache wants to keep.
func TestMeterStripsOnlyWhatItRequested(t *testing.T) {
	t.Parallel()
	last := `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1}}` + "\n\n"
	for name, c := range map[string]struct {
		in, out string
		keep    bool
	}{
		"usage beside the last choice": {in: textChunk + last + lastEvent, out: textChunk + last + lastEvent},
		"usage beside each choice":     {in: last + last + usageChunk, out: last + last},
		"usage alone":                  {in: "data: {\"id\":\"x\",\"usage\":{\"prompt_tokens\":1}}\n\n" + lastEvent, out: lastEvent},
		"an error with usage":          {in: textChunk + "data: {\"error\":{\"message\":\"x\"},\"usage\":null}\n\n", out: textChunk + "data: {\"error\":{\"message\":\"x\"},\"usage\":null}\n\n"},
		"without a space":              {in: strings.ReplaceAll(textChunk+usageChunk, "data: ", "data:"), out: strings.ReplaceAll(textChunk, "data: ", "data:")},
		"a cache in front":             {in: textChunk + usageChunk + lastEvent, out: textChunk + usageChunk + lastEvent, keep: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, reported := meter(t)
			ctx := t.Context()
			if c.keep {
				ctx = exchange.KeepUsage(ctx)
			}
			assert.Equal(t, c.out, send(t, m.Transport(events(c.in)), chatRequest(ctx, chatPath, ask)))
			assert.Len(t, reported.list(), 1)
		})
	}
}

// A response in an unknown encoding can't be read: its usage is estimated.
func TestMeterEstimatesWhatIsCompressed(t *testing.T) {
	t.Parallel()
	m, reported := meter(t)
	send(t, m.Transport(roundTrip(func(*http.Request) (*http.Response, error) {
		res := response("text/event-stream", strings.NewReader(strings.Repeat("\x1f\x8b", 200)))
		res.Header.Set("Content-Encoding", "br")
		return res, nil
	})), chatRequest(t.Context(), chatPath, ask))
	u := reported.list()[0]
	assert.Equal(t, stream.Complete, u.Outcome)
	assert.True(t, u.Estimated)
	assert.Positive(t, u.Input)
	assert.EqualValues(t, 100, u.Output)
}

// Calls that generate nothing cost nothing.
func TestMeterOfFreeCalls(t *testing.T) {
	t.Parallel()
	for path, body := range map[string]string{
		"/v1/messages/count_tokens": `{"input_tokens":2095}`, "/tokenize": `{"count":3,"tokens":[1,2,3]}`,
		"/v1beta/models/g:countTokens": `{"totalTokens":31}`, "/v1/moderations": `{"results":[{"flagged":false}]}`,
	} {
		require.Equal(t, llm.Free, llm.Of(http.MethodPost, path))
		m, reported := meter(t)
		send(t, m.Transport(sends("application/json", strings.NewReader(body))), chatRequest(t.Context(), "http://a"+path, askJSON))
		require.Len(t, reported.list(), 1, path)
		u := reported.list()[0]
		assert.Zero(t, u.Input+u.Output, path)
		assert.False(t, u.Estimated, path)
	}
}
