package demomodel_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ginfer/ginfer/examples/demomodel"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOutput(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		stop    []string
		trim    bool
		pieces  []string
		want    []string
		stopped bool
	}{
		{name: "as they come", pieces: []string{" a", "b", " c"}, want: []string{" a", "b", " c"}},
		{name: "trimmed", trim: true, pieces: []string{" ", " a", " b"}, want: []string{"a", " b"}},
		{name: "stop in a token", stop: []string{"lo"}, pieces: []string{"hello"}, want: []string{"hel"}, stopped: true},
		{name: "stop across tokens", stop: []string{"END"}, pieces: []string{"ab E", "N", "D", "x"}, want: []string{"ab "}, stopped: true},
		{name: "not a stop after all", stop: []string{"END"}, pieces: []string{"E", "N", "T"}, want: []string{"ENT"}},
		{name: "stop begins anew", stop: []string{"aab"}, pieces: []string{"a", "a", "a", "b"}, want: []string{"a"}, stopped: true},
		{name: "held at the end", stop: []string{"END"}, pieces: []string{"x", "EN"}, want: []string{"x", "EN"}},
		{name: "what ends first stops", stop: []string{"abcd", "bc"}, pieces: []string{"abcd"}, want: []string{"a"}, stopped: true},
		{name: "same end, longer", stop: []string{"c", "bc"}, pieces: []string{"abc"}, want: []string{"a"}, stopped: true},
		{name: "stop at once", stop: []string{"a"}, pieces: []string{"a"}, stopped: true},
		{name: "stop is trimmed away", stop: []string{" a"}, trim: true, pieces: []string{" ", "a"}, stopped: true},
		{name: "character in bytes", pieces: []string{"\xf0", "\x9f", "\x98", "\x80!"}, want: []string{"😀!"}},
		{name: "byte that fits nowhere", pieces: []string{"a\xff", "b"}, want: []string{"a\ufffd", "b"}},
		{name: "broken character", pieces: []string{"\xe2\x82", "a"}, want: []string{"\ufffd\ufffda"}},
		{name: "incomplete at the end", pieces: []string{"a", "\xe2\x82"}, want: []string{"a"}},
		{name: "stop of many bytes", stop: []string{"é!"}, pieces: []string{"è", "\xc3", "\xa9", "!"}, want: []string{"è"}, stopped: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			parts, stopped := demomodel.Output(tc.stop, tc.trim, tc.pieces...)
			assert.Equal(t, tc.want, parts)
			assert.Equal(t, tc.stopped, stopped)
		})
	}
}

// All parts are whole characters, no stop string gets out, and how the text is
// cut into pieces makes no difference.
func FuzzOutput(f *testing.F) {
	f.Add("hello END of it", "END", "of", 3)
	f.Add("aaab\xff\xe2\x82", "aab", "b", 1)
	f.Add("€uro €", "o €", "x", 2)
	f.Fuzz(func(t *testing.T, text, one, two string, size int) {
		if one == "" || two == "" || !utf8.ValidString(one) || !utf8.ValidString(two) || size < 1 {
			t.Skip()
		}
		stop := []string{one, two}
		var pieces []string
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		parts, stopped := demomodel.Output(stop, false, pieces...)
		whole, wholeStopped := demomodel.Output(stop, false, text)
		require.Equal(t, strings.Join(whole, ""), strings.Join(parts, ""))
		require.Equal(t, wholeStopped, stopped)
		for _, p := range parts {
			require.True(t, utf8.ValidString(p))
		}
		for _, s := range stop {
			require.NotContains(t, strings.Join(parts, ""), s)
		}
	})
}
