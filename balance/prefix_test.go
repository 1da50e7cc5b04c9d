package balance_test

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/balance"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func conversationKey(t *testing.T, body string) (string, bool) {
	t.Helper()
	return balance.ByPrefix()(streamRequest(t, body))
}

func TestByPrefix(t *testing.T) {
	t.Parallel()
	const (
		system = `{"role":"system","content":"be brief"}`
		hello  = `{"role":"user","content":"hello"}`
		later  = `{"role":"assistant","content":"hi"},{"role":"user","content":"more"}`
	)
	long := strings.Repeat("x", 2000)
	tests := []struct {
		name, one, two string
		same           bool
	}{
		{"turns of a chat", `{"model":"m","messages":[` + system + `,` + hello + `]}`, `{"model":"m","messages":[` + system + `,` + hello + `,` + later + `],"temperature":1,"stream":true}`, true},
		{"another first message", `{"messages":[` + system + `,` + hello + `]}`, `{"messages":[` + system + `,{"role":"user","content":"bye"}]}`, false},
		{"another system prompt", `{"messages":[` + system + `,` + hello + `]}`, `{"messages":[` + hello + `]}`, false},
		{"another model", `{"model":"a","messages":[` + hello + `]}`, `{"model":"b","messages":[` + hello + `]}`, false},
		{"other tools", `{"messages":[` + hello + `],"tools":[]}`, `{"messages":[` + hello + `],"tools":[1]}`, false},
		{"another cache key", `{"messages":[` + hello + `],"prompt_cache_key":"a"}`, `{"messages":[` + hello + `],"prompt_cache_key":"b"}`, false},
		{"Anthropic's system", `{"system":"a","messages":[` + hello + `]}`, `{"system":"b","messages":[` + hello + `]}`, false},
		{"Anthropic's turns", `{"system":"a","messages":[` + hello + `]}`, `{"system":"a","messages":[` + hello + `,` + later + `],"max_tokens":5}`, true},
		{"an escaped role", `{"messages":[{"role":"us\u0065r","content":"hello"}]}`, `{"messages":[{"role":"us\u0065r","content":"hello"},` + later + `]}`, true},
		{"responses, a text", `{"input":"hello","instructions":"x"}`, `{"input":"bye","instructions":"x"}`, false},
		{"responses, turns", `{"input":[` + hello + `],"instructions":"x"}`, `{"input":[` + hello + `,` + later + `],"instructions":"x"}`, true},
		{"a prompt that grows", `{"prompt":"` + long + `"}`, `{"prompt":"` + long + ` more"}`, true},
		{"another prompt", `{"prompt":"a"}`, `{"prompt":"b"}`, false},
		{"parts that move", `{"system":"a","tools":"b","messages":[]}`, `{"system":"a\u0000tools\u0000b","messages":[]}`, false},
		{"a cache's end that moves", `{"messages":[{"role":"user","content":[{"type":"text","text":"hello","cache_control":{"type":"ephemeral"}}]}]}`, `{"messages":[{"role":"user","content":[{"type":"text","text":"hello"}]},` + later + `]}`, true},
		{"other parts", `{"messages":[{"role":"user","content":["a"]}]}`, `{"messages":[{"role":"user","content":["b"]}]}`, false},
		{"parts that are one", `{"messages":[{"role":"user","content":[{"a":1},{"b":2}]}]}`, `{"messages":[{"role":"user","content":[{"a":1,"b":2}]}]}`, false},
		{"messages that are none", `{"messages":["a"]}`, `{"messages":["b"]}`, false},
		{"a conversation that a server knows", `{"model":"m","conversation":"c","input":"hello"}`, `{"input":"more","conversation":"c"}`, true},
		{"another one", `{"input":"hello","conversation":"c"}`, `{"input":"hello","conversation":"d"}`, false},
		{"none", `{"input":"hello","conversation":null}`, `{"input":"more","conversation":null}`, false},
		{"no messages", `{"messages":[]}`, `{"messages":[]}`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			one, ok := conversationKey(t, tt.one)
			require.True(t, ok)
			two, ok := conversationKey(t, tt.two)
			require.True(t, ok)
			assert.Equal(t, tt.same, one == two)
		})
	}
}

func TestByPrefixWithoutKey(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		"", "x", "[]", `{"model":"m"}`, `{"messages":[}`, `{"messages":[]`, `{"messages":[]} x`, `{"messages":}`,
		`{"input":"more","previous_response_id":"resp_1"}`,
	} {
		_, ok := conversationKey(t, body)
		assert.False(t, ok, body)
	}
	_, ok := conversationKey(t, `{"input":"first","previous_response_id":null}`)
	assert.True(t, ok)
	_, ok = balance.ByPrefix()(request(t, ""))
	assert.False(t, ok, "no body")
}

// The cost is bounded, however many messages and parts there are.
func TestByPrefixIsBounded(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"messages":[{"role":"x"}` + strings.Repeat(`,{"role":"x"}`, 100) + `%s]}`,
		`{"messages":[{"role":"user","content":[1` + strings.Repeat(`,1`, 100) + `%s]}]}`,
	} {
		one, ok := conversationKey(t, fmt.Sprintf(body, ""))
		require.True(t, ok)
		two, ok := conversationKey(t, fmt.Sprintf(body, ",2"))
		require.True(t, ok)
		assert.Equal(t, one, two)
	}
}

// A request without a key goes to the least loaded endpoint, and one with a key stays.
func TestPrefixAffinity(t *testing.T) {
	t.Parallel()
	p := newPool(t, balance.Config{Endpoints: endpoints(5), Policy: balance.PrefixAffinity(), Transport: named(fine)})
	homes := map[string]bool{}
	for chat := range 50 {
		first := ""
		said := fmt.Sprintf(`{"role":"user","content":"question %d"}`, chat)
		for range 3 {
			host, err := send(t, p, streamRequest(t, `{"messages":[`+said+`]}`))
			require.NoError(t, err)
			if first == "" {
				first = host
			}
			require.Equal(t, first, host)
			said += `,{"role":"assistant","content":"response"},{"role":"user","content":"more"}`
		}
		homes[first] = true
	}
	assert.Len(t, homes, 5)
}

// A prefix that many chats share uses as many endpoints as its part of the load needs, others
// stay where they are, and clients that each have one chat keep theirs.
func TestAHotPrefixSpreads(t *testing.T) {
	t.Parallel()
	const alike = `{"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hello"}]}`
	other := func(i int) string { return fmt.Sprintf(`{"messages":[{"role":"user","content":"question %d"}]}`, i) }
	p := newPool(t, balance.Config{Endpoints: endpoints(16), Policy: balance.PrefixAffinity(), Transport: named(fine)})
	homes := map[string]string{}
	for i := range 400 { // one after the other, so that nothing overflows
		for _, body := range []string{alike, other(i), other(i + 1)} {
			host, err := send(t, p, streamRequest(t, body))
			require.NoError(t, err)
			require.Equal(t, host, cmp.Or(homes[body], host))
			homes[body] = host
		}
	}
	hot, moved := map[string]int{}, 0
	for i := range 150 { // all at once
		body := other(i)
		if i%3 == 0 {
			body = alike
		}
		res, err := p.RoundTrip(streamRequest(t, body))
		require.NoError(t, err)
		t.Cleanup(func() { _ = res.Body.Close() })
		switch host := res.Header.Get("X-Host"); {
		case i%3 == 0:
			hot[host]++
		case host != homes[body]:
			moved++
		}
	}
	assert.GreaterOrEqual(t, len(hot), 6, "%v", hot)
	assert.LessOrEqual(t, slices.Max(slices.Collect(maps.Values(hot))), 13, "%v", hot)
	assert.LessOrEqual(t, moved, 15)
}

func TestOneChatEachDoesNotMove(t *testing.T) {
	t.Parallel()
	for clients := 1; clients <= 64; clients *= 2 {
		p := newPool(t, balance.Config{Endpoints: endpoints(5), Policy: balance.PrefixAffinity(), Transport: named(fine)})
		homes := make([]string, clients)
		for range 300 {
			var open []io.Closer
			for i := range min(clients, 4) { // so many of them at once
				body := fmt.Sprintf(`{"messages":[{"role":"user","content":"question %d"}]}`, i)
				res, err := p.RoundTrip(streamRequest(t, body)) //nolint:bodyclose // below, all of a round
				require.NoError(t, err)
				host := res.Header.Get("X-Host")
				require.Equal(t, cmp.Or(homes[i], host), host)
				homes[i] = host
				open = append(open, res.Body)
			}
			for _, body := range open {
				require.NoError(t, body.Close())
			}
		}
	}
}

func FuzzByPrefix(f *testing.F) {
	f.Add(`{"messages":[{"role":"user","content":"hello"}]}`, `{"role":"assistant"}`)
	f.Add(`{"input":[],"instructions":"\u0000"}`, `1`)
	f.Add(`{"prompt":"x","system":[{"a":{}}]}`, `"`)
	f.Fuzz(func(t *testing.T, body, more string) {
		one, ok := conversationKey(t, body)
		again, same := conversationKey(t, body)
		require.Equal(t, ok, same)
		require.Equal(t, one, again)
		if ok {
			require.Len(t, one, 16)
		}
		// Turns after the first message of the user change nothing.
		const turn = `{"messages":[{"role":"user","content":"x"}`
		if with, ok := conversationKey(t, turn+`,`+more+`]}`); ok && !strings.ContainsAny(more, "{}[]\"\\") {
			without, _ := conversationKey(t, turn+`]}`)
			require.Equal(t, without, with)
		}
	})
}
