package cachekey_test

import (
	"strings"
	"testing"

	"github.com/ginfer/ginfer/cache/internal/cachekey"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func canonical(text string, fields cachekey.Fields, only cachekey.Selection) (cachekey.Members, error) {
	var pool cachekey.Pool
	b := pool.Get()
	defer pool.Put(b)
	m, err := b.Canonical([]byte(text), fields, only)
	out := *m
	out.JSON = append([]byte(nil), m.JSON...)
	return out, err
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	fields := cachekey.NewFields([]string{"adapter", "user"}, []string{"trace", "seed"})
	for _, tt := range []struct {
		name, in, want string
	}{
		{"sorted", `{ "temperature": 0.0, "model": "m", "messages": [] }`, `{"messages":[],"model":"m","temperature":0}`},
		{"the stream does not matter", `{"model":"m","stream":true,"stream_options":{"include_usage":true},"metadata":{"a":1}}`, `{"model":"m"}`},
		{"without side effects", `{"store":false,"background":null,"model":"m"}`, `{"model":"m"}`},
		{"more parameters", `{"adapter":"a","user":"u"}`, `{"adapter":"a","user":"u"}`},
		{"more that does not matter", `{"trace":"a","seed":1,"model":"m"}`, `{"model":"m"}`},
		{"escapes in a name", `{"\u006dodel":"m"}`, `{"model":"m"}`},
	} {
		m, err := canonical(tt.in, fields, cachekey.All)
		require.NoError(t, err, tt.name)
		assert.Equal(t, tt.want, string(m.JSON), tt.name)
	}
}

func TestSelections(t *testing.T) {
	t.Parallel()
	const in = `{"model":"m","messages":[1],"temperature":1,"system":"s","stream":true}`
	fields := cachekey.NewFields(nil, nil)
	for only, want := range map[cachekey.Selection]string{
		cachekey.All:        `{"messages":[1],"model":"m","system":"s","temperature":1}`,
		cachekey.Parameters: `{"model":"m","temperature":1}`,
		cachekey.Prompt:     `{"messages":[1],"system":"s"}`,
	} {
		m, err := canonical(in, fields, only)
		require.NoError(t, err)
		require.Equal(t, want, string(m.JSON))
		require.Equal(t, "m", m.Model, "whatever is selected")
		require.True(t, m.Stream)
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	fields := cachekey.NewFields(nil, nil)
	for _, tt := range []struct {
		in   string
		want cachekey.Members
	}{
		{`{}`, cachekey.Members{}},
		{`{"model":"m"}`, cachekey.Members{Model: "m"}},
		{`{"model":"a\"\u00e9"}`, cachekey.Members{Model: `a"é`}},
		{`{"model":1}`, cachekey.Members{}},
		{`{"model":""}`, cachekey.Members{}},
		{`{"temperature":0}`, cachekey.Members{Deterministic: true}},
		{`{"temperature":-0.0}`, cachekey.Members{Deterministic: true}},
		{`{"temperature":0e5}`, cachekey.Members{Deterministic: true}},
		{`{"temperature":"0"}`, cachekey.Members{}},
		{`{"temperature":1e-9}`, cachekey.Members{}},
		{`{"stream":true}`, cachekey.Members{Stream: true}},
		{`{"stream":"true"}`, cachekey.Members{}},
		{`{"stream":true,"stream_options":{"include_usage":true}}`, cachekey.Members{Stream: true, Usage: true}},
		{`{"stream":true,"stream_options":{"include_usage":false}}`, cachekey.Members{Stream: true}},
	} {
		m, err := canonical(tt.in, fields, cachekey.All)
		require.NoError(t, err, tt.in)
		got := cachekey.Members{Model: m.Model, Deterministic: m.Deterministic, Stream: m.Stream, Usage: m.Usage}
		assert.Equal(t, tt.want, got, tt.in)
	}
}

func TestReason(t *testing.T) {
	t.Parallel()
	fields := cachekey.NewFields(nil, nil)
	for in, want := range map[string]string{
		`{"surprise":1}`:            "unknown-field",
		`{"Model":"m"}`:             "unknown-field",
		`{"store":true}`:            "unknown-field",
		`{"background":0}`:          "unknown-field",
		`{"model":"a","model":"b"}`: "duplicate-field",
		`{"messages":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`: "too-deep",
		`{"seed":1e999}`:              "number",
		`{"seed":9007199254740993}`:   "number",
		`{"messages":["\ud800"]}`:     "not-unicode",
		"{\"messages\":[\"\xff\"]}":   "not-unicode",
		`[]`:                          "not-json",
		``:                            "not-json",
		`{"model":"m"} trailing`:      "not-json",
		`{"model":"m","messages":[1}`: "not-json",
	} {
		_, err := canonical(in, fields, cachekey.All)
		require.Error(t, err, "%.40s", in)
		assert.Equal(t, want, cachekey.Reason(err), "%.40s", in)
	}
}

// Requests with one key have the same members that matter, in any order.
func FuzzCanonical(f *testing.F) {
	f.Add(`{"model":"m","messages":["\u0041"],"temperature":0.0}`)
	f.Add(`{"stream":true,"model":"m"}`)
	fields := cachekey.NewFields(nil, nil)
	f.Fuzz(func(t *testing.T, in string) {
		m, err := canonical(in, fields, cachekey.All)
		if err != nil {
			require.NotEmpty(t, cachekey.Reason(err))
			return
		}
		again, err := canonical(string(m.JSON), fields, cachekey.All)
		require.NoError(t, err)
		require.Equal(t, string(m.JSON), string(again.JSON))
		require.Equal(t, m.Model, again.Model)
		require.Equal(t, m.Deterministic, again.Deterministic)
	})
}
