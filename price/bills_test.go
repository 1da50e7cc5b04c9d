package price_test

import (
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/ginfer/ginfer/price"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bill is a row of testdata/bills.md.
type bill struct{ number, provider, response, path, body, prices, byHand, amount string }

func bills(t *testing.T) (list []bill) {
	t.Helper()
	text, err := os.ReadFile("testdata/bills.md")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), " | ")
		if len(f) != 8 || strings.HasPrefix(line, "| #") {
			continue
		}
		list = append(list, bill{
			strings.TrimPrefix(f[0], "| "), f[1], f[2], strings.Trim(f[3], "`"), strings.Trim(f[4], "`"), f[5], f[6],
			strings.TrimSuffix(f[7], " |"),
		})
	}
	return list
}

// usage reads the response of a bill as the gateway does.
func (b *bill) usage(t *testing.T) price.Usage {
	t.Helper()
	s := new(llm.Scanner)
	header, body := http.Header{"Content-Type": {"application/json"}}, b.body
	if strings.Contains(body, " ¶ ") {
		header.Set("Content-Type", "text/event-stream")
		body = "data: " + strings.ReplaceAll(body, " ¶ ", "\n\ndata: ") + "\n\n"
	}
	s.Reset(llm.Of(http.MethodPost, b.path), header)
	_, _ = s.Write([]byte(body))
	u, known := s.Usage()
	assert.True(t, known, "the server reports all counts")
	return price.Usage{Input: u.Input, Cached: u.Cached, CacheWritten: u.CacheWritten, Output: u.Output, Reasoning: u.Reasoning}
}

// counts reads the column "by hand".
func (b *bill) counts(t *testing.T) (u price.Usage) {
	t.Helper()
	for term := range strings.SplitSeq(b.byHand, " + ") {
		f := strings.Fields(term)
		n, err := strconv.ParseInt(f[0], 10, 64)
		require.NoError(t, err)
		switch f[1] {
		case "input":
			u.Input += n
		case "cached":
			u.Input, u.Cached = u.Input+n, n
		case "written":
			u.Input, u.CacheWritten = u.Input+n, n
		case "output":
			u.Output += n
		case "reasoning":
			u.Output, u.Reasoning = u.Output+n, n
		default:
			t.Fatal(term)
		}
	}
	return u
}

func TestBillsOfProviders(t *testing.T) {
	t.Parallel()
	all, providers := bills(t), map[string]bool{}
	for _, b := range all {
		providers[b.provider] = true
		t.Run(b.provider+", "+b.response, func(t *testing.T) {
			t.Parallel()
			p := strings.Split(b.prices, " / ")
			table, err := price.Parse([]byte(`{"currency": "USD", "models": [{"model": "*", "input": ` + p[0] + `, "cached_input": ` + p[1] +
				`, "cache_write": ` + p[2] + `, "output": ` + p[3] + `, "reasoning": ` + p[4] + `}]}`))
			require.NoError(t, err)
			row, err := table.Find("any", "any", time.Now())
			require.NoError(t, err)
			u := b.usage(t)
			assert.Equal(t, b.counts(t), u)
			assert.Equal(t, b.amount, row.Cost(u).String())
		})
	}
	assert.GreaterOrEqual(t, len(all), 40)
	assert.GreaterOrEqual(t, len(providers), 10)
}
