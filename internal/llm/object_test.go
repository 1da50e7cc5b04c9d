package llm_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMember(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, object, key, want string
		err                     error
	}{
		{"a string", `{"model":"a"}`, "model", `"a"`, nil},
		{"a number", `{"n":-1.5e+3}`, "n", `-1.5e+3`, nil},
		{"a number before space", "{\"n\":1 \n}", "n", `1`, nil},
		{"true", `{"n":true}`, "n", `true`, nil},
		{"null", `{"n":null,"m":1}`, "n", `null`, nil},
		{"an object", `{"o":{"a":[1,{"b":"}"}]},"n":1}`, "o", `{"a":[1,{"b":"}"}]}`, nil},
		{"an array", `{"o":["]",[]],"n":1}`, "o", `["]",[]]`, nil},
		{"the last of many", `{"a":1,"b":[],"c":{},"d":"","e":2}`, "e", `2`, nil},
		{"space everywhere", " \t\r\n{ \"a\" : 1 , \"n\"\n:\t[ 2 ] } ", "n", `[ 2 ]`, nil},
		{"an empty name", `{"":1}`, "", `1`, nil},
		{"a name by escapes", `{"\u006dodel":"a"}`, "model", `"a"`, nil},
		{"a name with an escaped quote", `{"a\"b":1}`, `a"b`, `1`, nil},
		{"a name that ends with a backslash", `{"a\\":1}`, `a\`, `1`, nil},
		{"a string that ends with a backslash", `{"a":"\\","n":1}`, "n", `1`, nil},
		{"a string with escaped quotes", `{"a":"\\\"\"","n":1}`, "n", `1`, nil},
		{"only at the top", `{"o":{"n":1},"n":2}`, "n", `2`, nil},

		{"an empty object", `{}`, "n", "", llm.ErrNotFound},
		{"other names", `{"a":1,"nn":2,"":3}`, "n", "", llm.ErrNotFound},
		{"only deeper", `{"o":{"n":1},"l":[{"n":1}]}`, "n", "", llm.ErrNotFound},
		{"only as a value", `{"a":"n"}`, "n", "", llm.ErrNotFound},
		{"a name with a bad escape may be any", `{"\q":1}`, "q", "", llm.ErrDuplicate},

		{"twice", `{"n":1,"a":0,"n":1}`, "n", "", llm.ErrDuplicate},
		{"twice, by escapes", `{"model":"a","mode\u006c":"b"}`, "model", "", llm.ErrDuplicate},
		{"twice, by escapes in another case", `{"model":"a","\u004dodel":"b"}`, "model", "", llm.ErrDuplicate},
		{"twice, in another case", `{"model":"a","Model":"b"}`, "model", "", llm.ErrDuplicate},
		{"another case first", `{"MODEL":"a","model":"b"}`, "model", "", llm.ErrDuplicate},
		{"only in another case", `{"MODEL":"a"}`, "model", "", llm.ErrDuplicate},
		{"folded as Go does, beyond ASCII", `{"` + "\u212a" + `ey":1}`, "key", "", llm.ErrDuplicate}, // Kelvin sign
		{"twice by a long s", `{"user":1,"u\u017fer":2}`, "user", "", llm.ErrDuplicate},

		{"nothing", ``, "n", "", llm.ErrSyntax},
		{"space", ` `, "n", "", llm.ErrSyntax},
		{"an array", `[{"n":1}]`, "n", "", llm.ErrSyntax},
		{"a byte order mark", "\ufeff{\"n\":1}", "n", "", llm.ErrSyntax},
		{"no end", `{"n":1`, "n", "", llm.ErrSyntax},
		{"no value", `{"n":`, "n", "", llm.ErrSyntax},
		{"no value before the end", `{"n":}`, "n", "", llm.ErrSyntax},
		{"no colon", `{"n" 1}`, "n", "", llm.ErrSyntax},
		{"no name", `{1:1}`, "n", "", llm.ErrSyntax},
		{"no quotes", `{n:1}`, "n", "", llm.ErrSyntax},
		{"a name without end", `{"n`, "n", "", llm.ErrSyntax},
		{"a string without end", `{"n":"\"}`, "n", "", llm.ErrSyntax},
		{"a string without end, deeper", `{"n":["a]}`, "n", "", llm.ErrSyntax},
		{"an array without end", `{"n":[1,2}`, "n", "", llm.ErrSyntax},
		{"no comma", `{"n":1 "a":2}`, "n", "", llm.ErrSyntax},
		{"a comma first", `{,"n":1}`, "n", "", llm.ErrSyntax},
		{"a comma last", `{"n":1,}`, "n", "", llm.ErrSyntax},
		{"two commas", `{"a":1,,"n":1}`, "n", "", llm.ErrSyntax},
		{"a word that is none", `{"n":nil}`, "n", "", llm.ErrSyntax},
		{"a number that is none", `{"n":01}`, "n", "", llm.ErrSyntax},
		{"more after the end", `{"n":1}{"n":2}`, "n", "", llm.ErrSyntax},
		{"a comment", `{/**/"n":1}`, "n", "", llm.ErrSyntax},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at, err := llm.Member([]byte(tt.object), tt.key)
			require.ErrorIs(t, err, tt.err)
			assert.Equal(t, tt.want, string(at.Of([]byte(tt.object))))
		})
	}
}

// The error is for logs: it names the position.
func TestMemberFault(t *testing.T) {
	t.Parallel()
	_, err := llm.Member([]byte(`{"a":1 ;}`), "a")
	require.EqualError(t, err, "not a JSON object: fault at byte 7")
}

// The scan does not recurse: nesting costs neither stack nor time.
func TestMemberDeep(t *testing.T) {
	t.Parallel()
	const depth = 1 << 20
	object := `{"a":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `,"n":1}`
	at, err := llm.Member([]byte(object), "n")
	require.NoError(t, err)
	assert.Equal(t, "1", string(at.Of([]byte(object))))
}

func TestString(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, object, want string
		err                error
	}{
		{"plain", `{"model":"gpt"}`, "gpt", nil},
		{"empty", `{"model":""}`, "", nil},
		{"escaped", `{"model":"a\"\\\/\n\u00e4\ud83d\ude00"}`, "a\"\\/\nä😀", nil},
		{"half a surrogate pair", `{"model":"\ud83d"}`, "\ufffd", nil},
		{"a number", `{"model":1}`, "", llm.ErrType},
		{"null", `{"model":null}`, "", llm.ErrType},
		{"an array", `{"model":["a"]}`, "", llm.ErrType},
		{"a bad escape", `{"model":"\q"}`, "", llm.ErrSyntax},
		{"a line end", "{\"model\":\"a\nb\"}", "", llm.ErrSyntax},
		{"none", `{}`, "", llm.ErrNotFound},
		{"two", `{"model":"a","model":"b"}`, "", llm.ErrDuplicate},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := llm.String([]byte(tt.object), "model")
			require.ErrorIs(t, err, tt.err)
			assert.Equal(t, tt.want, got)
		})
	}
}

// FuzzMember compares with encoding/json, which must agree wherever a name is unique and
// similar to no other.
func FuzzMember(f *testing.F) {
	for _, seed := range []string{
		`{"model":"a"}`, `{"a":[{"}":"\\"}],"model":1.5}`, `{"mode\u006c":null,"x":{}}`, `{"Model":1}`,
		`{"model":1,"model":2}`, `{"model":[1,2}`, ` { "model" : true } `, `{"a\\":"\"","model":{"model":2}}`, `[]`, `{`,
	} {
		f.Add([]byte(seed), "model")
	}
	f.Fuzz(func(t *testing.T, object []byte, key string) {
		at, err := llm.Member(object, key)
		if err == nil {
			require.True(t, 0 <= at.Start && at.Start < at.End && at.End <= len(object))
		}
		var want map[string]json.RawMessage
		if json.Unmarshal(object, &want) != nil || want == nil || !utf8.Valid(object) || !utf8.ValidString(key) {
			return // not an object; and invalid UTF-8 makes different names equal
		}
		similar := 0
		names := namesOf(t, object)
		for _, name := range names {
			if strings.EqualFold(name, key) {
				similar++
			}
		}
		switch value, ok := want[key]; {
		case similar == 0:
			require.ErrorIs(t, err, llm.ErrNotFound)
		case similar > 1 || !ok:
			require.ErrorIs(t, err, llm.ErrDuplicate)
		default:
			require.NoError(t, err)
			assert.Equal(t, string(value), string(at.Of(object)))
			spliced := slices.Concat(object[:at.Start], []byte(`"other"`), object[at.End:])
			assert.True(t, json.Valid(spliced), "%q", spliced)
		}
	})
}

// namesOf lists the top-level names of a valid object, including duplicates, which a map
// would hide.
func namesOf(t *testing.T, object []byte) (names []string) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(object)))
	_, err := d.Token()
	require.NoError(t, err)
	for d.More() {
		name, err := d.Token()
		require.NoError(t, err)
		names = append(names, name.(string))
		var value json.RawMessage
		require.NoError(t, d.Decode(&value))
	}
	return names
}

func BenchmarkMember(b *testing.B) {
	object := []byte(`{"messages":[{"role":"user","content":"` + strings.Repeat("word ", 2000) + `"}],"model":"gpt"}`)
	b.SetBytes(int64(len(object)))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = llm.Member(object, "model")
	}
}
