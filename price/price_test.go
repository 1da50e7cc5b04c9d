package price_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ginfer/ginfer/price"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func parse(t *testing.T, models string) *price.Table {
	t.Helper()
	table, err := price.Parse([]byte(`{"currency": "EUR", "models": [` + models + `]}`))
	require.NoError(t, err)
	return table
}

func row(t *testing.T, models string) *price.Row {
	t.Helper()
	r, err := parse(t, models).Find("m", "u", time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC))
	require.NoError(t, err)
	return r
}

func TestCost(t *testing.T) {
	t.Parallel()
	all := `{"model": "*", "input": 2, "cached_input": 0.5, "cache_write": 2.5, "output": 8, "reasoning": 4, "request": 0.001, "image": 0.04, "audio_second": 0.0001}`
	for name, c := range map[string]struct {
		row   string
		usage price.Usage
		want  string
	}{
		"nothing":                               {all, price.Usage{}, "0"},
		"all at once":                           {all, price.Usage{Input: 100, Cached: 50, CacheWritten: 10, Output: 20, Reasoning: 5, Requests: 1, Images: 2, Audio: 1500 * time.Millisecond}, "0.08142"},
		"a missing cached price is the input's": {`{"model": "*", "input": 2, "output": 8}`, price.Usage{Input: 1_000_000, Cached: 400_000, CacheWritten: 100_000}, "2"},
		"a missing reasoning price is the output's":         {`{"model": "*", "input": 2, "output": 8}`, price.Usage{Output: 1_000_000, Reasoning: 900_000}, "8"},
		"a cached price of 0":                               {`{"model": "*", "input": 2, "cached_input": 0}`, price.Usage{Input: 1_000_000, Cached: 400_000}, "1.2"},
		"more cached than input":                            {all, price.Usage{Input: 100, Cached: 500, CacheWritten: 500}, "0.00005"},
		"more reasoning than output":                        {all, price.Usage{Output: 100, Reasoning: 500}, "0.0004"},
		"negative counts":                                   {all, price.Usage{Input: -1, Cached: -1, Output: -5, Reasoning: -1, Requests: -1, Images: -1, Audio: -time.Second}, "0"},
		"half a millionth to even, down":                    {`{"model": "*", "input": 0.5}`, price.Usage{Input: 1}, "0"},
		"half a millionth to even, up":                      {`{"model": "*", "input": 0.5}`, price.Usage{Input: 3}, "0.000002"},
		"more than half":                                    {`{"model": "*", "input": 0.500000000001}`, price.Usage{Input: 1}, "0.000001"},
		"rounded once, not each part":                       {`{"model": "*", "input": 0.4, "output": 0.4}`, price.Usage{Input: 1, Output: 1}, "0.000001"},
		"more than an amount can be":                        {`{"model": "*", "image": 1000000}`, price.Usage{Images: math.MaxInt64}, "9223372036854.775807"},
		"tokens without an end":                             {`{"model": "*", "input": 1000000}`, price.Usage{Input: math.MaxInt64}, "1099511627776"},
		"at a tier's bound":                                 {`{"model": "*", "input": 1, "output": 4, "above": [{"tokens": 200000, "input": 2}]}`, price.Usage{Input: 200_000, Output: 1_000_000}, "4.2"},
		"above it, for all tokens":                          {`{"model": "*", "input": 1, "output": 4, "above": [{"tokens": 200000, "input": 2}]}`, price.Usage{Input: 200_001, Output: 1_000_000}, "4.400002"},
		"the highest tier that is exceeded":                 {`{"model": "*", "input": 1, "above": [{"tokens": 10, "input": 2}, {"tokens": 20, "input": 3}]}`, price.Usage{Input: 1_000_000}, "3"},
		"a tier without a cached price has its own input's": {`{"model": "*", "input": 1, "above": [{"tokens": 10, "input": 2}]}`, price.Usage{Input: 1_000_000, Cached: 500_000}, "2"},
		"or that of its row":                                {`{"model": "*", "input": 1, "cached_input": 0.1, "above": [{"tokens": 10, "input": 2}]}`, price.Usage{Input: 1_000_000, Cached: 500_000}, "1.05"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.want, row(t, c.row).Cost(c.usage).String())
		})
	}
}

func TestCostIsExact(t *testing.T) {
	t.Parallel()
	r := row(t, `{"model": "*", "input": 0.123456789012, "cached_input": 0.000000000001, "cache_write": 3.75, "output": 999999.999999999999, "reasoning": 0.1, "request": 0.000000000007, "image": 0.3, "audio_second": 0.0001}`)
	rat := func(text string) *big.Rat { v, _ := new(big.Rat).SetString(text); return v }
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		u := price.Usage{
			Input: random.Int64N(1 << 30), Output: random.Int64N(1 << 16), Requests: random.Int64N(2), Images: random.Int64N(100),
			Audio: time.Duration(random.Int64N(1e7)) * time.Millisecond,
		}
		u.Cached = random.Int64N(u.Input + 1)
		u.CacheWritten = random.Int64N(u.Input - u.Cached + 1)
		u.Reasoning = random.Int64N(u.Output + 1)
		sum := new(big.Rat)
		add := func(n int64, of string) { sum.Add(sum, new(big.Rat).Mul(big.NewRat(n, 1), rat(of))) }
		add(u.Input-u.Cached-u.CacheWritten, "0.123456789012")
		add(u.Cached, "0.000000000001")
		add(u.CacheWritten, "3.75")
		add(u.Output-u.Reasoning, "999999.999999999999")
		add(u.Reasoning, "0.1")
		add(u.Requests, "0.000007")
		add(u.Images, "300000")
		add(u.Audio.Milliseconds(), "0.1")
		down := new(big.Int).Quo(sum.Num(), sum.Denom())
		rest := new(big.Rat).Sub(sum, new(big.Rat).SetInt(down))
		want, up := down.Int64(), down.Int64()
		if rest.Sign() > 0 {
			up++
		}
		if c := rest.Cmp(big.NewRat(1, 2)); c > 0 || c == 0 && want%2 == 1 {
			want++
		}
		require.Equal(t, price.Amount(want), r.Cost(u), u)
		require.Equal(t, price.Amount(up), r.Reserve(u), u)
	}
}

func TestFindsTheMostSpecificRow(t *testing.T) {
	t.Parallel()
	table := parse(t, `
		{"model": "*", "input": 1},
		{"model": "big*", "input": 2},
		{"model": "big-mini*", "input": 3},
		{"model": "big-mini", "input": 4},
		{"model": "big*", "upstream": "batch", "input": 5},
		{"model": "big*", "upstream": "b*", "input": 6},
		{"model": "*-turbo", "input": 7},
		{"model": "a*b*c", "input": 8},
		{"model": "then", "input": 9, "until": "2026-07-01"},
		{"model": "then", "input": 10, "from": "2026-07-01T00:00:00+02:00"}`)
	june := time.Date(2026, 6, 30, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		model, upstream string
		at              time.Time
		want            int64
	}{
		{"other", "u", june, 1},
		{"", "", june, 1},
		{"big", "u", june, 2},
		{"big-maxi", "u", june, 2},
		{"big-mini-1", "u", june, 3},
		{"big-mini", "u", june, 4},
		{"big-mini", "batch", june, 4}, // the model counts more
		{"big", "batch", june, 5},
		{"big", "backup", june, 6},
		{"x-turbo", "u", june, 7},
		{"abc", "u", june, 8},
		{"a1b2c", "u", june, 8},
		{"ac", "u", june, 1},
		{"abcd", "u", june, 1},
		{"Big", "u", june, 1},
		{"then", "u", june, 9},
		{"then", "u", time.Date(2026, 6, 30, 21, 59, 59, 0, time.UTC), 9},
		{"then", "u", time.Date(2026, 6, 30, 22, 0, 0, 0, time.UTC), 10}, // the later one
	} {
		r, err := table.Find(c.model, c.upstream, c.at)
		require.NoError(t, err, c)
		assert.Equal(t, price.Amount(c.want), r.Cost(price.Usage{Input: 1}), c)
	}
}

func TestNoRowIsNoPrice(t *testing.T) {
	t.Parallel()
	table := parse(t, `{"model": "a", "input": 1, "from": "2026-01-01", "until": "2026-02-01"}, {"model": "b", "upstream": "u", "input": 1}`)
	for _, c := range []struct{ model, upstream, day string }{
		{"c", "u", "2026-01-15"}, {"a", "u", "2025-12-31"}, {"a", "u", "2026-02-01"}, {"b", "v", "2026-01-15"},
	} {
		at, err := time.Parse(time.DateOnly, c.day)
		require.NoError(t, err)
		_, err = table.Find(c.model, c.upstream, at)
		require.ErrorIs(t, err, price.ErrNoPrice, c)
		assert.ErrorContains(t, err, c.model)
	}
}

func TestFaultsOfTables(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                                  `price: EOF`,
		"{\n\"currency\": 5}":               `line 2: `,
		"{\"currency\": \"EUR\",\n\n!":      `line 3: `,
		`{"currency":"EUR","model":[]}`:     `unknown field "model"`,
		`{"currency":"EUR","models":[]} {}`: `text after the table`,
		`{}`:                                `price: currency: is missing; models: is missing or empty`,
		`{"currency":"E","per":0,"models":[{"model":"m","input":1}]}`:                                                 `per: must be 1 to 1000000 tokens, not 0`,
		`{"currency":"E","per":1000001,"models":[{"model":"m","input":1}]}`:                                           `per: `,
		`{"currency":"E","models":[{"input":1}]}`:                                                                     `models[0].model: is missing`,
		`{"currency":"E","models":[{"model":"m"}]}`:                                                                   `models[0]: has no price`,
		`{"currency":"E","models":[{"model":"m","input":-1}]}`:                                                        `models[0].input: must be a number of at least 0`,
		`{"currency":"E","models":[{"model":"m","output":1e7}]}`:                                                      `models[0].output: must be at most 1000000`,
		`{"currency":"E","models":[{"model":"m","image":1e999999999}]}`:                                               `models[0].image: must be`,
		`{"currency":"E","models":[{"model":"m","image":1e-999999999}]}`:                                              `models[0].image: `,
		`{"currency":"E","models":[{"model":"m","input":0.0000000000001}]}`:                                           `models[0].input: has more than 12 digits`,
		`{"currency":"E","models":[{"model":"m","input":1,"from":"May"}]}`:                                            `models[0].from: must be a day`,
		`{"currency":"E","models":[{"model":"m","input":1,"from":"2026-02-01","until":"2026-02-01"}]}`:                `models[0].until: must be after from`,
		`{"currency":"E","models":[{"model":"m","input":1},{"model":"m","upstream":"*","input":2}]}`:                  `models[1]: prices the same models as models[0]`,
		`{"currency":"E","models":[{"model":"m","input":1,"above":[{"tokens":0,"input":1}]}]}`:                        `models[0].above[0].tokens: must be at least 1`,
		`{"currency":"E","models":[{"model":"m","input":1,"above":[{"tokens":2,"input":1},{"tokens":2,"input":1}]}]}`: `models[0].above[1].tokens: must be more than before: 2`,
		`{"currency":"E","models":[{"model":"m","input":1,"above":[{"tokens":2}]}]}`:                                  `models[0].above[0]: has no price`,
		`{"currency":"E","models":[{"model":"m","input":-1},{"model":"n","output":-1}]}`:                              `models[1].output: must`, // all faults
	} {
		_, err := price.Parse([]byte(text))
		require.ErrorContains(t, err, want, text)
		assert.NotContains(t, err.Error(), "\n")
	}
}

func TestAmounts(t *testing.T) {
	t.Parallel()
	for amount, want := range map[price.Amount]string{
		0: "0", 1: "0.000001", 1_000_000: "1", 1_500_000: "1.5", -1: "-0.000001", -2_030_000: "-2.03",
		math.MaxInt64: "9223372036854.775807", math.MinInt64: "-9223372036854.775808",
	} {
		assert.Equal(t, want, amount.String())
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"currency":"E","per":1000,"models":[{"model":"a*b","upstream":"*","input":1.5,"above":[{"tokens":5,"output":2}],"from":"2026-01-01"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		table, err := price.Parse([]byte(text))
		if err != nil {
			return
		}
		r, err := table.Find("aab", "u", time.Unix(1<<31, 0))
		if err != nil {
			return
		}
		u := price.Usage{Input: math.MaxInt64, Cached: 1 << 50, CacheWritten: 1 << 61, Output: math.MaxInt64, Reasoning: 1 << 40, Requests: math.MaxInt64, Images: math.MaxInt64, Audio: math.MaxInt64}
		if r.Cost(u) < 0 || r.Reserve(u) < r.Cost(u) {
			t.Fatal(r.Cost(u), r.Reserve(u))
		}
	})
}
