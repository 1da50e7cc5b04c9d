package exchange_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func keep(out, raw []byte, _ llm.Event) []byte { return append(out, raw...) }

// strip drops events that have usage only.
func strip(out, raw []byte, e llm.Event) []byte {
	if e.NoChoices && e.Usage[1] > 0 {
		return out
	}
	return append(out, raw...)
}

func TestFilter(t *testing.T) {
	t.Parallel()
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	cr := func(s string) string { return strings.ReplaceAll(s, "\n", "\r") }
	upper := func(out, raw []byte, e llm.Event) []byte {
		if e.Content {
			raw = bytes.ToUpper(raw)
		}
		return append(out, raw...)
	}
	for _, tt := range []struct {
		name, contentType string
		filter            exchange.Filter
		in, want          string
	}{
		{"usage only", sse, strip, whole, text + stop + done},
		{"CRLF", sse, strip, crlf(whole), crlf(text + stop + done)},
		{"CR", sse, strip, cr(whole), cr(text + stop + done)},
		{"usage last, without a blank line", sse, strip, text + strings.TrimSuffix(usage, "\n"), text + strings.TrimSuffix(usage, "\n")},
		{"patched", sse, upper, text + done, strings.ToUpper(text) + done},
		{"all dropped", sse, func(out, _ []byte, _ llm.Event) []byte { return out }, whole, ""},
		{"comments", sse, strip, ": a\n\n" + whole, ": a\n\n" + text + stop + done},
		{"JSON has no events", "application/json", strip, usage, usage},
		{"an event that is too long", sse, strip, "data: " + strings.Repeat("x", 2<<20) + "\n\n" + usage, "data: " + strings.Repeat("x", 2<<20) + "\n\n" + usage},
	} {
		for _, size := range []byte{0, 1, 2, 9, 255} {
			for _, prefetch := range []bool{false, true} {
				if size < 255 && len(tt.in) > 1<<20 {
					continue
				}
				a, req, c := begin(t, &exchange.Exchange{Limits: exchange.Limits{Prefetch: prefetch}}, chat)
				a.SetFilter(tt.filter)
				res, err := a.Do(req, give(200, tt.contentType, chunks([]byte(tt.in), []byte{size})...))
				require.NoError(t, err)
				a.Prefetch()
				got := readAll(t, res)
				assert.Equal(t, tt.want, got, "%s, pieces of %d", tt.name, size+1)
				require.NoError(t, res.Body.Close())
				assert.EqualValues(t, len(tt.in), endOf(a).Bytes, "the upstream's bytes")
				c.requireBalanced(t)
			}
		}
	}
}

func TestHooksSeeWhatIsFilteredOut(t *testing.T) {
	t.Parallel()
	a, req, _ := begin(t, new(exchange.Exchange), chat)
	a.SetFilter(func(out, _ []byte, _ llm.Event) []byte { return out })
	e := judged(t, a, req, give(200, sse, whole))
	assert.True(t, e.Counted)
	assert.EqualValues(t, 9, e.Usage.Input)
	assert.EqualValues(t, 1, e.Events)
}

func TestFilterKeepsNoLineOfJSONBack(t *testing.T) {
	t.Parallel()
	a, req, _ := begin(t, new(exchange.Exchange), "/api/chat")
	a.SetFilter(strip)
	line := "{\"message\":{\"content\":\"a\"},\"done\":false}\n"
	res, err := a.Do(req, give(200, "application/x-ndjson", line, line, "{\"done\":true}\n"))
	require.NoError(t, err)
	p := make([]byte, 1000)
	n, err := res.Body.Read(p)
	require.NoError(t, err)
	assert.Equal(t, line, string(p[:n]))
	require.NoError(t, res.Body.Close())
}

func TestFilterMayCallTheAttemptAndPanic(t *testing.T) {
	t.Parallel()
	a, req, c := begin(t, new(exchange.Exchange), chat)
	a.SetFilter(func(_, _ []byte, _ llm.Event) []byte { _ = a.Verdict(); panic("filter") })
	res, err := a.Do(req, transport(func(*http.Request) (*http.Response, error) { return response(200, sse, body(whole)), nil })) //nolint:bodyclose // it is, after the panic
	require.NoError(t, err)
	require.PanicsWithValue(t, "filter", func() { _, _ = res.Body.Read(make([]byte, 100)) })
	require.NoError(t, res.Body.Close())
	c.requireBalanced(t)
}
