package jcs_test

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/cache/internal/jcs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func canon(s string) (string, error) {
	var c jcs.Canon
	out, err := c.Value([]byte(s))
	return string(out), err
}

func TestVectorsOfTheRFC(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ in, want string }{
		"section 3.2.2": {
			`{
			  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
			  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
			  "literals": [null, true, false]
			}`,
			`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
		},
		"section 3.2.3": {
			`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",` +
				`"\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`,
			`{"\r":"Carriage Return","1":"One","` + "\u0080" + `":"Control","ö":"Latin Small Letter O With Diaeresis",` +
				`"€":"Euro Sign","😀":"Emoji: Grinning Face","` + "\ufb33" + `":"Hebrew Letter Dalet With Dagesh"}`,
		},
	} {
		got, err := canon(tt.in)
		require.NoError(t, err, name)
		assert.Equal(t, tt.want, got, name)
		again, err := canon(got)
		require.NoError(t, err, name)
		assert.Equal(t, got, again, "%s: it is its own canonical form", name)
	}
}

func TestNumbersOfAppendixB(t *testing.T) {
	t.Parallel()
	for bits, want := range map[uint64]string{
		0x0000000000000000: "0", 0x8000000000000000: "0",
		0x0000000000000001: "5e-324", 0x8000000000000001: "-5e-324",
		0x7fefffffffffffff: "1.7976931348623157e+308", 0xffefffffffffffff: "-1.7976931348623157e+308",
		0x4340000000000000: "9007199254740992", 0xc340000000000000: "-9007199254740992",
		0x4430000000000000: "295147905179352830000",
		0x44b52d02c7e14af5: "9.999999999999997e+22", 0x44b52d02c7e14af6: "1e+23", 0x44b52d02c7e14af7: "1.0000000000000001e+23",
		0x444b1ae4d6e2ef4e: "999999999999999700000", 0x444b1ae4d6e2ef4f: "999999999999999900000", 0x444b1ae4d6e2ef50: "1e+21",
		0x3eb0c6f7a0b5ed8c: "9.999999999999997e-7", 0x3eb0c6f7a0b5ed8d: "0.000001",
		0x41b3de4355555553: "333333333.3333332", 0x41b3de4355555554: "333333333.33333325",
		0x41b3de4355555555: "333333333.3333333", 0x41b3de4355555556: "333333333.3333334", 0x41b3de4355555557: "333333333.33333343",
		0xbecbf647612f3696: "-0.0000033333333333333333", 0x43143ff3c1cb0959: "1424953923781206.2",
	} {
		f := math.Float64frombits(bits)
		for _, format := range []byte("gef") {
			got, err := canon(strconv.FormatFloat(f, format, -1, 64))
			require.NoError(t, err)
			assert.Equal(t, want, got, "%x as %%%c", bits, format)
		}
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		` { } `: `{}`, ` [ ] `: `[]`, `"a"`: `"a"`, ` true`: `true`, "null\n": `null`,
		`{"b":1,"a":{"d":[],"c":{}}}`:          `{"a":{"c":{},"d":[]},"b":1}`,
		`{"a":1,"aa":2,"":3}`:                  `{"":3,"a":1,"aa":2}`,
		`{"\u0061":1,"A":2}`:                   `{"A":2,"a":1}`,
		`{"\n":1,"\u0000":2,"\u001f":3}`:       `{"\u0000":2,"\n":1,"\u001f":3}`,
		`{"\\":1,"]":2,"[":3,"\"":4}`:          `{"\"":4,"[":3,"\\":1,"]":2}`,
		`"\b\f\n\r\t\u0008\u007f\u2028"`:       `"\b\f\n\r\t\b` + "\x7f\u2028" + `"`,
		`"0123456789012345678\"0123456789"`:    `"0123456789012345678\"0123456789"`,
		`"日本語 and plain text 日本"`:              `"日本語 and plain text 日本"`,
		`[0,-0,0.0,-0.0e5,1.0,10,100e-2,0.10]`: `[0,0,0,0,1,10,1,0.1]`,
		`[1e0,1E+2,1e21,1e-6,1e-7]`:            `[1,100,1e+21,0.000001,1e-7]`,
	} {
		got, err := canon(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, got, in)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return strings.Repeat(`[`, n) + strings.Repeat(`]`, n) }
	for in, want := range map[string]error{
		``: jcs.ErrSyntax, ` `: jcs.ErrSyntax, `{`: jcs.ErrSyntax, `[1,]`: jcs.ErrSyntax, `[,1]`: jcs.ErrSyntax,
		`{"a"}`: jcs.ErrSyntax, `{"a":}`: jcs.ErrSyntax, `{a:1}`: jcs.ErrSyntax, `{"a":1,}`: jcs.ErrSyntax, `1 2`: jcs.ErrSyntax,
		`01`: jcs.ErrSyntax, `+1`: jcs.ErrSyntax, `.5`: jcs.ErrSyntax, `1.`: jcs.ErrSyntax, `1e`: jcs.ErrSyntax, `-`: jcs.ErrSyntax,
		`NaN`: jcs.ErrSyntax, `tru`: jcs.ErrSyntax, `"a`: jcs.ErrSyntax, "\"\n\"": jcs.ErrSyntax, `"\x"`: jcs.ErrSyntax,
		`"\u12"`: jcs.ErrSyntax, `"\u12g4"`: jcs.ErrSyntax, `"\`: jcs.ErrSyntax, "[1\x00]": jcs.ErrSyntax, "\x00": jcs.ErrSyntax,
		`{"a":1,"a":2}`: jcs.ErrDuplicate, `{"a":1,"b":0,"\u0061":2}`: jcs.ErrDuplicate, `[{"x":{"a":1,"a":1}}]`: jcs.ErrDuplicate,
		`1e400`: jcs.ErrNumber, `-1e400`: jcs.ErrNumber,
		`"\ud800"`: jcs.ErrUnicode, `"\udc00"`: jcs.ErrUnicode, `"\ud800\ud800"`: jcs.ErrUnicode, `"\ud800x"`: jcs.ErrUnicode, "\"\xff\"": jcs.ErrUnicode, "\"\xc0\x80\"": jcs.ErrUnicode,
		deep(jcs.MaxDepth + 1): jcs.ErrDepth, strings.Repeat(`{"a":`, jcs.MaxDepth+1): jcs.ErrDepth,
	} {
		_, err := canon(in)
		require.ErrorIs(t, err, want, "%.40q", in)
	}
	_, err := canon(deep(jcs.MaxDepth))
	require.NoError(t, err)
}

func TestExact(t *testing.T) {
	t.Parallel()
	c := jcs.Canon{Exact: true}
	for in, ok := range map[string]bool{
		"9007199254740991": true, "9007199254740992": true, "9007199254740993": false, "-9007199254740993": false,
		"123456789012345678": false, "9007199254740993.0": true, "12345678901234567890": false,
	} {
		_, err := c.Value([]byte(in))
		assert.Equal(t, ok, err == nil, in)
	}
}

// pick keeps the given members, and records all.
type pick struct {
	keep map[string]bool
	seen map[string]string
	fail string
}

var errPick = errors.New("no")

func (p *pick) Member(name, value []byte) (bool, error) {
	if string(name) == p.fail {
		return false, errPick
	}
	p.seen[string(name)] = string(value)
	return p.keep[string(name)], nil
}

func TestMembersAreChosen(t *testing.T) {
	t.Parallel()
	var c jcs.Canon
	for in, want := range map[string]string{
		`{"c":1,"a":2,"b":{"z":0,"a":0}}`:   `{"a":2,"b":{"a":0,"z":0}}`,
		`{"a":1,"c":1}`:                     `{"a":1}`,
		`{"c":1}`:                           `{}`,
		`{}`:                                `{}`,
		`{"c":1,"d":2,"b":1,"a":[{"c":1}]}`: `{"a":[{"c":1}],"b":1}`,
	} {
		p := &pick{keep: map[string]bool{"a": true, "b": true}, seen: map[string]string{}}
		got, err := c.Object([]byte(in), p)
		require.NoError(t, err)
		assert.Equal(t, want, string(got), in)
		var all map[string]any
		require.NoError(t, json.Unmarshal([]byte(in), &all))
		assert.Len(t, p.seen, len(all))
	}
	_, err := c.Object([]byte(`{"c":1,"c":2}`), &pick{seen: map[string]string{}})
	require.ErrorIs(t, err, jcs.ErrDuplicate, "also of those that are left out")
	_, err = c.Object([]byte(`{"c":1}`), &pick{fail: "c"})
	require.ErrorIs(t, err, errPick)
	_, err = c.Object([]byte(`[]`), &pick{})
	require.ErrorIs(t, err, jcs.ErrSyntax)
}

// The canonical form is equivalent JSON, and a fixed point.
func FuzzValue(f *testing.F) {
	f.Add([]byte(`{"b":[1.50,"\u20ac\n"],"a":{"y":null,"x":-0}}`))
	f.Add([]byte(`"\ud83d\ude00 \"quoted\" 日本"`))
	f.Add([]byte(`[1e21,123456789012345678,0.1,1e-7,{"":{}}]`))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := canon(string(in))
		if err != nil {
			return
		}
		var before, after any
		require.NoError(t, json.Unmarshal(in, &before))
		require.NoError(t, json.Unmarshal([]byte(got), &after))
		require.True(t, reflect.DeepEqual(before, after), "%q became %q", in, got)
		again, err := canon(got)
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}

func BenchmarkObject(b *testing.B) {
	small := `{"model":"gpt-4o","messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"What is the capital of France?"}],"temperature":0,"max_tokens":100}`
	large := strings.Replace(small, "What", strings.Repeat("A long prompt. ", 4000), 1)
	for name, text := range map[string]string{"200B": small, "60KB": large} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			var c jcs.Canon
			for b.Loop() {
				if _, err := c.Value([]byte(text)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
