package stream_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	bodies "github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// roundTrip is a function as a RoundTripper.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

const (
	chatPath = "http://a/v1/chat/completions"
	ask      = `{"model":"m","stream":true,"messages":[{"role":"user","content":"0123456789012345"}]}`
	askJSON  = `{"model":"m","messages":[{"role":"user","content":"0123456789012345"}]}`

	roleChunk  = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
	textChunk  = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"
	usageChunk = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"total_tokens\":12}}\n\n"
	errorEvent = "data: {\"error\":{\"message\":\"x\",\"code\":500}}\n\n"
	lastEvent  = "data: [DONE]\n\n"
)

// response returns a response of a type.
func response(contentType string, body io.Reader) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {contentType}}, ContentLength: -1, Body: io.NopCloser(body)}
}

func sends(contentType string, body io.Reader) roundTrip {
	return func(*http.Request) (*http.Response, error) { return response(contentType, body), nil }
}

func events(parts ...string) roundTrip {
	return sends("text/event-stream", strings.NewReader(strings.Join(parts, "")))
}

// usages are the reports of a Meter. An attempt may end in a goroutine of its own.
type usages struct {
	mu  sync.Mutex
	all []stream.Usage
}

func (u *usages) add(_ context.Context, one stream.Usage) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all = append(u.all, one)
}

func (u *usages) list() []stream.Usage {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.all)
}

// wait returns them when there are n.
func (u *usages) wait(tb testing.TB, n int) []stream.Usage {
	tb.Helper()
	require.Eventually(tb, func() bool { return len(u.list()) >= n }, 5*time.Second, time.Millisecond)
	return u.list()
}

// meter returns a Meter and its reports.
func meter(tb testing.TB, change ...func(*stream.MeterConfig)) (*stream.Meter, *usages) {
	tb.Helper()
	reported := new(usages)
	cfg := stream.MeterConfig{OnUsage: reported.add}
	for _, f := range change {
		f(&cfg)
	}
	m, err := stream.NewMeter(cfg)
	require.NoError(tb, err)
	return m, reported
}

func chatRequest(ctx context.Context, url, body string) *http.Request {
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
	bodies.Set(req, []byte(body))
	return req
}

// send sends a request and reads the response to its end.
func send(tb testing.TB, rt http.RoundTripper, req *http.Request) string {
	tb.Helper()
	res, err := rt.RoundTrip(req)
	if err != nil {
		return err.Error()
	}
	b, _ := io.ReadAll(res.Body)
	require.NoError(tb, res.Body.Close())
	return string(b)
}

// The usage of responses that end in every way.
func TestMeter(t *testing.T) {
	t.Parallel()
	cut := func(s string) roundTrip {
		return sends("text/event-stream", io.MultiReader(strings.NewReader(s), iotest.ErrReader(io.ErrUnexpectedEOF)))
	}
	refused := errors.Join(errors.New("circuit open"), &exchange.NotSentError{})
	for name, c := range map[string]struct {
		body     string // ask unless given
		response roundTrip
		want     *stream.Usage // only some fields are compared; nil: no report
	}{
		"whole":                       {response: events(roleChunk, textChunk, textChunk, usageChunk, lastEvent), want: &stream.Usage{Input: 9, Output: 3, Events: 2, Stream: true}},
		"no usage":                    {response: events(roleChunk, textChunk, textChunk, lastEvent), want: &stream.Usage{Input: 9, Output: 2, Events: 2, Stream: true, Estimated: true}},
		"JSON":                        {body: askJSON, response: sends("application/json", strings.NewReader(`{"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":9,"completion_tokens":3}}`)), want: &stream.Usage{Input: 9, Output: 3, Events: 1}},
		"embeddings":                  {body: `{"model":"m","input":"a"}`, response: sends("application/json", strings.NewReader(`{"data":[],"usage":{"prompt_tokens":4,"total_tokens":4}}`)), want: &stream.Usage{Input: 4}},
		"cut":                         {response: cut(roleChunk + textChunk), want: &stream.Usage{Input: 9, Output: 1, Events: 1, Stream: true, Estimated: true, Outcome: stream.Failed}},
		"ends without its last event": {response: events(textChunk), want: &stream.Usage{Input: 9, Output: 1, Events: 1, Stream: true, Estimated: true, Outcome: stream.Failed}},
		"cut before anything":         {response: cut(roleChunk), want: &stream.Usage{Stream: true, Outcome: stream.Failed}},
		"an error event":              {response: events(roleChunk, errorEvent), want: &stream.Usage{Stream: true, Outcome: stream.Failed}},
		"an error event after text":   {response: events(textChunk, errorEvent), want: &stream.Usage{Input: 9, Output: 1, Events: 1, Stream: true, Estimated: true, Outcome: stream.Failed}},
		"no response":                 {response: func(*http.Request) (*http.Response, error) { return nil, io.EOF }, want: &stream.Usage{Outcome: stream.Failed}},
		"an error": {response: func(*http.Request) (*http.Response, error) {
			r := response("application/json", strings.NewReader(`{"error":{}}`))
			r.StatusCode = 500
			return r, nil
		}, want: &stream.Usage{Outcome: stream.Failed}},
		"never sent":  {response: func(*http.Request) (*http.Response, error) { return nil, refused }},
		"not a model": {body: `[1]`, response: events(textChunk)},
		"no body":     {body: "-", response: events(textChunk)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, reported := meter(t)
			body := ask
			if c.body != "" {
				body = strings.TrimPrefix(c.body, "-")
			}
			send(t, m.Transport(c.response), chatRequest(t.Context(), chatPath, body))
			if c.want == nil {
				assert.Empty(t, reported.list())
				return
			}
			require.Len(t, reported.list(), 1)
			got := reported.list()[0]
			assert.Equal(t, c.want.Outcome, got.Outcome)
			assert.Equal(t, c.want.Outcome == stream.Complete, got.Err == nil, got.Err)
			assert.Equal(t, "m", got.Model)
			got = stream.Usage{Input: got.Input, Output: got.Output, Events: got.Events, Stream: got.Stream, Estimated: got.Estimated, Outcome: got.Outcome}
			if c.want.Estimated {
				got.Input = c.want.Input // from the bytes of the request
			}
			assert.Equal(t, *c.want, got)
		})
	}
}

// A client that leaves, and an attempt that lost to a faster one, are counted by what was
// delivered.
func TestMeterCanceled(t *testing.T) {
	t.Parallel()
	tokens := make(chan [2]int64, 9)
	m, reported := meter(t, func(c *stream.MeterConfig) {
		c.Report = func(_ context.Context, in, out int64) { tokens <- [2]int64{in, out} }
	})
	ctx, leave := context.WithCancel(t.Context())
	res, err := m.Transport(sends("text/event-stream", io.MultiReader(strings.NewReader(textChunk+textChunk), iotest.ErrReader(context.Canceled)))).RoundTrip(chatRequest(ctx, chatPath, ask))
	require.NoError(t, err)
	_, err = io.CopyN(io.Discard, res.Body, int64(2*len(textChunk)))
	require.NoError(t, err)
	leave()
	_, _ = io.Copy(io.Discard, res.Body)
	require.NoError(t, res.Body.Close())
	require.NoError(t, res.Body.Close())
	require.Len(t, reported.wait(t, 1), 1, "once")
	u := reported.list()[0]
	assert.Equal(t, stream.Canceled, u.Outcome)
	assert.EqualValues(t, 2, u.Output)
	assert.Positive(t, u.Input)
	assert.True(t, u.Estimated)
	assert.Equal(t, [2]int64{u.Input, 2}, <-tokens)

	// While the model still reads.
	gone := roundTrip(func(r *http.Request) (*http.Response, error) { return nil, r.Context().Err() })
	_, err = m.Transport(gone).RoundTrip(chatRequest(ctx, chatPath, ask)) //nolint:bodyclose // there is none
	require.ErrorIs(t, err, context.Canceled)
	u = reported.wait(t, 2)[1]
	assert.Equal(t, stream.Canceled, u.Outcome)
	assert.Positive(t, u.Input)
	assert.Zero(t, u.Output)
	assert.Equal(t, [2]int64{u.Input, 0}, <-tokens)
	assert.Empty(t, tokens)
	assert.Len(t, reported.list(), 2)
}

// Times are those of events with text.
func TestMeterTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var gaps []time.Duration
		m, reported := meter(t, func(c *stream.MeterConfig) {
			c.OnToken = func(_ context.Context, d time.Duration) { gaps = append(gaps, d) }
		})
		r, w := io.Pipe()
		go func() {
			for _, p := range []struct {
				pause time.Duration
				text  string
			}{{time.Second, roleChunk}, {time.Second, textChunk}, {100 * time.Millisecond, textChunk}, {3 * time.Second, textChunk}, {time.Second, usageChunk}, {time.Second, lastEvent}} {
				<-time.After(p.pause)
				_, _ = io.WriteString(w, p.text)
			}
			_ = w.Close()
		}()
		x := new(exchange.Exchange)
		x.Begin(chatRequest(t.Context(), chatPath, ask))
		a, req := x.BeginHedge(chatRequest(t.Context(), chatPath, ask))
		a.Use("e1")
		send(t, m.Transport(sends("text/event-stream", r)), req)
		u := reported.list()[0]
		assert.Equal(t, 2*time.Second, u.FirstToken)
		assert.Equal(t, 1550*time.Millisecond, u.PerToken)
		assert.Equal(t, 3*time.Second, u.Longest)
		assert.Equal(t, 1, u.Stalls)
		assert.Equal(t, 7100*time.Millisecond, u.Total)
		assert.Equal(t, []time.Duration{100 * time.Millisecond, 3 * time.Second}, gaps)
		assert.Equal(t, "e1", u.Endpoint)
		assert.Equal(t, 2, u.Attempt)
		assert.True(t, u.Hedge)
	})
}

// The meter adds a request for usage, and nothing else changes.
func TestMeterRequestsUsage(t *testing.T) {
	t.Parallel()
	const usage = `"include_usage":true`
	for name, c := range map[string]struct{ url, body, sent string }{
		"chat":              {chatPath, `{"stream":true}`, `{"stream_options":{` + usage + `},"stream":true}`},
		"with spaces":       {chatPath, " {\n \"stream\": true }", " {\"stream_options\":{" + usage + "},\"stream\": true }"},
		"completions":       {"http://a/v1/completions", `{"stream":true}`, `{"stream_options":{` + usage + `},"stream":true}`},
		"other options":     {chatPath, `{"stream":true,"stream_options":{"x":1}}`, `{"stream":true,"stream_options":{` + usage + `,"x":1}}`},
		"empty options":     {chatPath, `{"stream":true,"stream_options":{ }}`, `{"stream":true,"stream_options":{` + usage + `}}`},
		"null options":      {chatPath, `{"stream":true,"stream_options":null}`, `{"stream":true,"stream_options":{` + usage + `}}`},
		"said no":           {chatPath, `{"stream":true,"stream_options":{"include_usage":false}}`, `{"stream":true,"stream_options":{"include_usage":true}}`},
		"requested already": {chatPath, `{"stream":true,"stream_options":{"include_usage":true}}`, ""},
		"no stream":         {chatPath, `{"stream":false}`, ""},
		"no JSON":           {chatPath, `{"stream":true`, ""},
		"messages":          {"http://a/v1/messages", `{"stream":true}`, ""},
		"responses":         {"http://a/v1/responses", `{"stream":true}`, ""},
		"options of a type": {chatPath, `{"stream":true,"stream_options":[]}`, ""},
		"options twice":     {chatPath, `{"stream":true,"stream_options":{},"stream_options":{}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, _ := meter(t)
			req := chatRequest(t.Context(), c.url, c.body)
			req.Header.Set("Content-Digest", "x")
			req.Header.Set("Accept-Encoding", "gzip")
			send(t, m.Transport(roundTrip(func(r *http.Request) (*http.Response, error) {
				sent, _ := io.ReadAll(r.Body)
				want := c.sent
				if want == "" {
					want = c.body
				}
				assert.Equal(t, want, string(sent))
				assert.EqualValues(t, len(want), r.ContentLength)
				assert.Equal(t, c.sent == "", r.Header.Get("Content-Digest") == "x")
				return response("text/event-stream", http.NoBody), nil
			})), req)
			assert.Equal(t, "gzip", req.Header.Get("Accept-Encoding"), "the caller's request is unchanged")
		})
	}
}

// Responses are requested uncompressed.
func TestMeterReadsNoCompression(t *testing.T) {
	t.Parallel()
	m, _ := meter(t)
	req := chatRequest(t.Context(), chatPath, ask)
	req.Header.Set("Accept-Encoding", "gzip, br")
	send(t, m.Transport(roundTrip(func(r *http.Request) (*http.Response, error) {
		assert.Equal(t, "identity", r.Header.Get("Accept-Encoding"))
		return response("text/event-stream", http.NoBody), nil
	})), req)
}

// Usage that the client did not request is removed, wherever it is cut; all else passes byte
// for byte.
func TestMeterStrips(t *testing.T) {
	t.Parallel()
	null := "data: {\"id\":\"x\",\"choices\":[{\"delta\":{\"content\":\"say \\\"usage\\\":null\"}}],\"usage\":null}\n\n"
	for name, c := range map[string]struct{ in, out string }{
		"the last chunk":      {textChunk + usageChunk + lastEvent, textChunk + lastEvent},
		"null in each":        {null + lastEvent, strings.Replace(null, `,"usage":null}`+"\n", "}\n", 1) + lastEvent},
		"null first":          {"data: {\"usage\": null , \"choices\":[]}\n\n", "data: { \"choices\":[]}\n\n"},
		"null between":        {"data: {\"a\":1, \"usage\":null,\"choices\":[1]}\n\n", "data: {\"a\":1,\"choices\":[1]}\n\n"},
		"alone":               {"data: {\"usage\":null}\n\n", "data: {}\n\n"},
		"beside choices":      {"data: {\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":1}}\n\n", "data: {\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":1}}\n\n"},
		"CRLF":                {strings.ReplaceAll(textChunk+usageChunk+lastEvent, "\n", "\r\n"), strings.ReplaceAll(textChunk+lastEvent, "\n", "\r\n")},
		"CR":                  {strings.ReplaceAll(textChunk+usageChunk+lastEvent, "\n", "\r"), strings.ReplaceAll(textChunk+lastEvent, "\n", "\r")},
		"comments and fields": {": ping\n\nid: 1\nevent: x\n" + textChunk + "retry: 5\n\n", ": ping\n\nid: 1\nevent: x\n" + textChunk + "retry: 5\n\n"},
		"data of two lines":   {"data: {\"choices\":[],\ndata: \"usage\":{}}\n\n", "data: {\"choices\":[],\ndata: \"usage\":{}}\n\n"},
		"no choices yet":      {"data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n", "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n"},
		"an unfinished event": {textChunk + "data: {\"usage\":null", textChunk + "data: {\"usage\":null"},
		"no JSON":             {"data: \"usage\"\n\n", "data: \"usage\"\n\n"},
		"its name escaped":    {"data: {\"x\":\"usage\",\"\\u0075sage\":null}\n\n", "data: {\"x\":\"usage\",\"\\u0075sage\":null}\n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for cut := 1; cut <= len(c.in); cut++ {
				m, _ := meter(t)
				r := io.MultiReader(strings.NewReader(c.in[:cut]), iotest.OneByteReader(strings.NewReader(c.in[cut:])))
				require.Equal(t, c.out, send(t, m.Transport(sends("text/event-stream", r)), chatRequest(t.Context(), chatPath, ask)), "cut at %d", cut)
			}
		})
	}
	m, _ := meter(t)
	sent := strings.Replace(ask, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1)
	all := textChunk + usageChunk + lastEvent
	assert.Equal(t, all, send(t, m.Transport(events(all)), chatRequest(t.Context(), chatPath, sent)), "a client that requests it gets it")
	quiet, reported := meter(t, func(c *stream.MeterConfig) { c.NoInject = true })
	assert.Equal(t, all, send(t, quiet.Transport(events(all)), chatRequest(t.Context(), chatPath, ask)))
	assert.EqualValues(t, 9, reported.list()[0].Input)
	long := "data: {\"x\":\"" + strings.Repeat("y", 3<<20) + "\"}\n\n" + usageChunk
	m, _ = meter(t)
	assert.Equal(t, long, send(t, m.Transport(events(long)), chatRequest(t.Context(), chatPath, ask)), "beyond a limit nothing is buffered")
}

// The same tokens are counted wherever a response is cut, and the same bytes pass.
func FuzzMeter(f *testing.F) {
	f.Add(roleChunk+textChunk+usageChunk+lastEvent, []byte{3, 9, 1})
	f.Add(textChunk+errorEvent, []byte{1})
	f.Add("data: {\"usage\":null}\r\n\r\n: x\n\ndata:\n\n", []byte{7})
	f.Fuzz(func(t *testing.T, body string, cuts []byte) {
		play := func(r io.Reader) (string, stream.Usage) {
			m, reported := meter(t)
			got := send(t, m.Transport(sends("text/event-stream", r)), chatRequest(t.Context(), chatPath, ask))
			u := reported.list()[0]
			return got, stream.Usage{Input: u.Input, Output: u.Output, Events: u.Events, Estimated: u.Estimated, Outcome: u.Outcome}
		}
		var parts []io.Reader
		rest := body
		for _, c := range cuts {
			n := min(int(c), len(rest))
			parts = append(parts, strings.NewReader(rest[:n]))
			rest = rest[n:]
		}
		whole, wholeUsage := play(strings.NewReader(body))
		cut, cutUsage := play(io.MultiReader(append(parts, iotest.OneByteReader(strings.NewReader(rest)))...))
		require.Equal(t, whole, cut)
		wholeUsage.Events, cutUsage.Events = 0, 0 // events of one read are counted as one
		require.Equal(t, wholeUsage, cutUsage)
	})
}

func TestMeterConfig(t *testing.T) {
	t.Parallel()
	_, err := stream.NewMeter(stream.MeterConfig{})
	require.Error(t, err)
	_, err = stream.NewMeter(stream.MeterConfig{OnUsage: func(context.Context, stream.Usage) {}, Stall: -1})
	require.Error(t, err)
	assert.Equal(t, []string{"complete", "failed", "canceled"}, []string{stream.Complete.String(), stream.Failed.String(), stream.Canceled.String()})
}

// An event costs under a microsecond, and nothing on the heap.
func BenchmarkMeter(b *testing.B) {
	for name, event := range map[string]string{
		"passing": textChunk, "usage null": strings.Replace(textChunk, "]}\n", "],\"usage\":null}\n", 1),
	} {
		for injected, body := range map[string]string{"": strings.Replace(ask, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1), ", injected": ask} {
			b.Run(name+injected, func(b *testing.B) {
				m, _ := meter(b)
				source := &endless{event: event}
				res, err := m.Transport(sends("text/event-stream", source)).RoundTrip(chatRequest(b.Context(), chatPath, body))
				require.NoError(b, err)
				buf := make([]byte, 4096)
				b.ReportAllocs()
				for b.Loop() {
					_, _ = res.Body.Read(buf)
				}
				source.over = true
				_ = res.Body.Close()
			})
		}
	}
}

// endless sends one event at a time.
type endless struct {
	event string
	over  bool
}

func (e *endless) Read(p []byte) (int, error) {
	if e.over {
		return 0, io.EOF
	}
	return copy(p, e.event), nil
}
