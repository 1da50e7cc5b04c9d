package exchange_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// steady is a stream of n events of content, one each gap, and then silence.
func steady(n int, gap, silence time.Duration) []part {
	var parts []part
	for range n {
		parts = append(parts, part{gap, text})
	}
	return append(parts, part{silence, text + stop})
}

func repeated(n int, p part) []part {
	var parts []part
	for range n {
		parts = append(parts, p)
	}
	return parts
}

func TestLimits(t *testing.T) {
	t.Parallel()
	const s = time.Second
	call := `data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{"}}]}}]}` + "\n\n"
	none := exchange.Limit(-1)
	for _, tt := range []struct {
		name   string
		limits exchange.Limits
		total  time.Duration
		tools  bool
		path   string
		script script
		which  exchange.Limit
		after  time.Duration
	}{
		{"first byte", exchange.Limits{FirstByte: s}, 0, false, chat, script{head: 9 * s}, exchange.LimitFirstByte, s},
		{"first byte in time", exchange.Limits{FirstByte: s}, 0, false, chat, script{kind: sse, parts: []part{{9 * s, text + stop}}}, none, 9 * s},
		{"first content", exchange.Limits{FirstContent: 4 * s, Idle: 2 * s}, 0, false, chat, script{kind: sse, parts: repeated(20, part{s, ": ping\n\n"})}, exchange.LimitFirstContent, 4 * s},
		{"first content before the head", exchange.Limits{FirstContent: 4 * s}, 0, false, chat, script{head: 9 * s}, exchange.LimitFirstContent, 4 * s},
		{"first content in time", exchange.Limits{FirstContent: 4 * s}, 0, false, chat, script{kind: sse, parts: []part{{3 * s, text}, {5 * s, stop}}}, none, 8 * s},
		{"no first content of what generates nothing", exchange.Limits{FirstContent: s}, 0, false, "/other", script{head: 9 * s}, none, 9 * s},
		{"comments are life", exchange.Limits{Idle: 2 * s}, 0, false, chat, script{kind: sse, parts: append(repeated(12, part{s, ": ping\n\n"}), part{s, text + stop})}, none, 13 * s},
		{"white space is life", exchange.Limits{Idle: 2 * s}, 0, false, "/other", script{kind: "application/json", parts: append(repeated(12, part{s, " "}), part{s, "{}"})}, none, 13 * s},
		{"idle", exchange.Limits{Idle: 2 * s}, 0, false, chat, script{kind: sse, parts: []part{{s, text}, {9 * s, stop}}}, exchange.LimitIdle, 3 * s},
		{"silence before content", exchange.Limits{FirstByte: 2 * s, Opening: 2 * s}, 0, false, chat, script{kind: sse, parts: []part{{s, ": ping\n\n"}, {9 * s, text}}}, exchange.LimitIdle, 3 * s},
		{"comments before content", exchange.Limits{FirstByte: 2 * s, Opening: 2 * s}, 0, false, chat, script{kind: sse, parts: append(repeated(12, part{s, ": ping\n\n"}), part{s, text}, part{9 * s, stop})}, none, 22 * s},
		{"silence before JSON", exchange.Limits{FirstByte: 2 * s, Opening: 2 * s}, 0, false, chat, script{kind: "application/json", parts: []part{{9 * s, `{"choices":[{"finish_reason":"stop","message":{"content":"a"}}]}`}}}, none, 9 * s},
		{"stall", exchange.Limits{Idle: 100 * s, Stall: 5 * s}, 0, false, chat, script{kind: sse, parts: steady(40, s/50, 60*s)}, exchange.LimitIdle, 40*s/50 + 5*s},
		{"stall alone", exchange.Limits{Stall: 5 * s}, 0, false, chat, script{kind: sse, parts: steady(40, s/50, 60*s)}, exchange.LimitIdle, 40*s/50 + 5*s},
		{"stall by the median", exchange.Limits{Idle: 100 * s, Stall: 5 * s}, 0, false, chat, script{kind: sse, parts: steady(40, 3*s, 60*s)}, exchange.LimitIdle, 150 * s},
		{"the pace is not known yet", exchange.Limits{Idle: 100 * s, Stall: 5 * s}, 0, false, chat, script{kind: sse, parts: steady(20, s/50, 60*s)}, none, 20*s/50 + 60*s},
		{"no stall with tools", exchange.Limits{Idle: 100 * s, Stall: 5 * s}, 0, true, chat, script{kind: sse, parts: steady(40, s/50, 60*s)}, none, 40*s/50 + 60*s},
		{"no stall of arguments", exchange.Limits{Idle: 100 * s, Stall: 5 * s}, 0, false, chat, script{kind: sse, parts: append(repeated(40, part{s / 50, text}), part{s, call}, part{60 * s, stop})}, none, 40*s/50 + 61*s},
		{"total", exchange.Limits{Idle: 2 * s}, 5 * s, false, chat, script{kind: sse, parts: steady(40, s, s)}, exchange.LimitTotal, 5 * s},
		{"total before the head", exchange.Limits{FirstByte: 9 * s}, 5 * s, false, chat, script{head: 60 * s}, exchange.LimitTotal, 5 * s},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				limits, start := tt.limits, time.Now()
				if tt.total > 0 {
					limits.Deadline = start.Add(tt.total)
				}
				src := tt.script
				src.parts = append([]part(nil), src.parts...)
				a, req, c := begin(t, &exchange.Exchange{Limits: limits, Tools: tt.tools}, tt.path)
				e := judged(t, a, req, src)
				assert.Equal(t, tt.after, time.Since(start))
				if tt.which == none {
					assert.Equal(t, "success nobody", show(e.Verdict))
				} else {
					assert.Equal(t, exchange.Endpoint, e.Blame)
					require.ErrorIs(t, e.Err, exchange.ErrTimeout)
					assert.Equal(t, &exchange.TimeoutError{Limit: tt.which}, e.Err)
					assert.True(t, strings.HasPrefix(e.Err.Error(), "upstream timeout: "))
				}
				c.requireBalanced(t)
			})
		})
	}
}

func TestSlowClientIsNotCharged(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for _, tt := range []struct {
		name   string
		limits exchange.Limits
		total  time.Duration
		parts  []part
		pause  time.Duration
		want   string
	}{
		{"idle", exchange.Limits{Idle: 2 * s}, 0, steady(5, s, s), 60 * s, "success nobody"},
		{"stall", exchange.Limits{Idle: 60 * s, Stall: 2 * s}, 0, steady(50, s/50, s/50), 60 * s, "success nobody"},
		{"first content", exchange.Limits{FirstContent: 10 * s}, 0, append(repeated(5, part{s, ": ping\n\n"}), part{s, text + stop}), 60 * s, "success nobody"},
		{"first content that does not come", exchange.Limits{FirstContent: 10 * s}, 0, repeated(20, part{s, ": ping\n\n"}), 60 * s, "failure endpoint repeatable"},
		{"total", exchange.Limits{Idle: 9 * s}, 100 * s, steady(50, s, s), 60 * s, "canceled client"},
		{"total, though it hardly paused", exchange.Limits{Idle: 9 * s}, 100 * s, steady(500, s, s), s / 100, "failure endpoint"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				limits := tt.limits
				if tt.total > 0 {
					limits.Deadline = time.Now().Add(tt.total)
				}
				a, req, c := begin(t, &exchange.Exchange{Limits: limits}, chat)
				res, err := a.Do(req, script{kind: sse, parts: tt.parts})
				require.NoError(t, err)
				p := make([]byte, 4096)
				for err == nil {
					<-time.After(tt.pause)
					_, err = res.Body.Read(p)
				}
				require.NoError(t, res.Body.Close())
				assert.Equal(t, tt.want, show(endOf(a).Verdict))
				c.requireBalanced(t)
			})
		})
	}
}

func TestLimitIsOverWithItsAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, req, _ := begin(t, &exchange.Exchange{Limits: exchange.Limits{Idle: time.Second}}, chat)
		res, err := a.Do(req, give(200, sse, whole))
		require.NoError(t, err)
		readAll(t, res)
		_, err = res.Body.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		<-time.After(time.Minute)
		require.NoError(t, a.Context().Err())
		require.NoError(t, res.Body.Close())
	})
}

func TestNamesOfLimits(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for l := exchange.LimitFirstByte; l <= exchange.LimitTotal; l++ {
		assert.NotEmpty(t, l.String())
		assert.False(t, seen[l.String()])
		seen[l.String()] = true
	}
	assert.Empty(t, exchange.Limit(9).String())
}
