package jsonl_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ginfer/ginfer/queue/internal/jsonl"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const path = "/v1/embeddings"

func rules() *jsonl.Rules { return &jsonl.Rules{Endpoint: path, MaxLines: 5, MaxLine: 300} }

func line(id string) string {
	return `{"custom_id":"` + id + `","method":"POST","url":"/v1/embeddings","body":{"input":"x"}}`
}

func TestCheck(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, line, code, param string }{
		{"good", line("a"), "", ""},
		{"in another order, with more", `{"body":{},"x":[1,{}],"url":"/v1/embeddings","method":"POST","custom_id":"\u0061"}`, "", ""},
		{"a stream that is none", `{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"stream":false}}`, "", ""},
		{"a null stream", `{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"stream":null}}`, "", ""},
		{"a stream deeper down", `{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"x":{"stream":true}}}`, "", ""},
		{"text", `x`, "invalid_json_line", ""},
		{"an array", `[]`, "invalid_json_line", ""},
		{"half", `{"custom_id":"a"`, "invalid_json_line", ""},
		{"two", line("a") + line("b"), "invalid_json_line", ""},
		{"no id", `{"method":"POST","url":"/v1/embeddings","body":{}}`, "missing_required_parameter", "custom_id"},
		{"an empty id", line(""), "invalid_custom_id", "custom_id"},
		{"a long id", line(strings.Repeat("x", 513)), "invalid_custom_id", "custom_id"},
		{"an id that is a number", `{"custom_id":1,"method":"POST","url":"/v1/embeddings","body":{}}`, "invalid_type", "custom_id"},
		{"two ids", `{"custom_id":"a","custom_id":"b","method":"POST","url":"/v1/embeddings","body":{}}`, "invalid_type", "custom_id"},
		{"no method", `{"custom_id":"a","url":"/v1/embeddings","body":{}}`, "missing_required_parameter", "method"},
		{"GET", `{"custom_id":"a","method":"GET","url":"/v1/embeddings","body":{}}`, "invalid_method", "method"},
		{"no url", `{"custom_id":"a","method":"POST","body":{}}`, "missing_required_parameter", "url"},
		{"another url", `{"custom_id":"a","method":"POST","url":"/v1/embeddings/","body":{}}`, "invalid_url", "url"},
		{"no body", `{"custom_id":"a","method":"POST","url":"/v1/embeddings"}`, "missing_required_parameter", "body"},
		{"a text for a body", `{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":"x"}`, "invalid_body", "body"},
		{"a stream", `{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"stream":true}}`, "stream_not_supported", "body.stream"},
		{"a stream by a number", `{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"stream":1}}`, "stream_not_supported", "body.stream"},
		{"a stream in capitals", `{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"STREAM":true}}`, "invalid_body", "body.stream"},
		{"a stream with escapes", `{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"\u0073tream":true}}`, "stream_not_supported", "body.stream"},
	}
	for _, tt := range tests {
		l, f := rules().Check([]byte(tt.line))
		if tt.code == "" {
			require.Nil(t, f, tt.name)
			assert.Equal(t, "a", l.CustomID, tt.name)
			continue
		}
		require.NotNil(t, f, tt.name)
		assert.Equal(t, tt.code, f.Code, tt.name)
		if tt.param != "" {
			assert.Equal(t, tt.param, *f.Param, tt.name)
		}
		assert.NotEmpty(t, f.Message, tt.name)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	sum, faults, err := rules().Validate(strings.NewReader("\xef\xbb\xbf" + line("a") + "\r\n\n" + line("b")))
	require.NoError(t, err)
	assert.Equal(t, 2, sum.Count)
	assert.Empty(t, faults)

	broken := errors.New("x")
	_, _, err = rules().Validate(iotest.ErrReader(broken))
	require.ErrorIs(t, err, broken)

	r := rules()
	r.MaxLines = 1000
	_, faults, err = r.Validate(strings.NewReader(strings.Repeat("x\n", 500)))
	require.NoError(t, err)
	require.Len(t, faults, 100, "the first hundred are enough")
	assert.Equal(t, 100, *faults[99].Line)
}

// The model is that of all lines, or none.
func TestValidateModel(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 257)
	for want, bodies := range map[string][]string{
		"m":                   {`{"model":"m"}`},
		"m é":                 {`{"model":"m \u00e9"}`, `{"model":"m é"}`},
		" none":               {`{}`},
		" two":                {`{"model":"a"}`, `{"model":"b"}`},
		" two, and again":     {`{"model":"a"}`, `{"model":"b"}`, `{"model":"a"}`},
		" one without":        {`{"model":"a"}`, `{}`},
		" the first's":        {`{}`, `{"model":"a"}`},
		" a number":           {`{"model":1}`},
		" said twice":         {`{"model":"a","model":"a"}`},
		" too long to report": {`{"model":"` + long + `"}`},
	} {
		var text strings.Builder
		for i, body := range bodies {
			fmt.Fprintf(&text, `{"custom_id":"%d","method":"POST","url":"/v1/embeddings","body":%s}`+"\n", i, body)
		}
		r := rules()
		r.MaxLine = 1000
		sum, faults, err := r.Validate(strings.NewReader(text.String()))
		require.NoError(t, err)
		require.Empty(t, faults)
		if strings.HasPrefix(want, " ") {
			assert.Empty(t, sum.Model, want)
			continue
		}
		assert.Equal(t, want, sum.Model)
	}
}

// Reading can go on where it ended.
func TestResume(t *testing.T) {
	t.Parallel()
	text := "a\n\nb\nc\n" + strings.Repeat("d", 100_000) + "\ne"
	r := jsonl.NewReader(strings.NewReader(text), 200_000, 0, 0)
	var got []string
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		got = append(got, fmt.Sprint(r.Number(), string(b[:1])))
		rest := jsonl.NewReader(strings.NewReader(text[r.Offset():]), 200_000, r.Offset(), r.Number())
		next, err := rest.Next()
		if err == nil {
			b, err := jsonl.NewReader(strings.NewReader(text[r.Offset():]), 200_000, 0, 0).Next()
			require.NoError(t, err)
			assert.Equal(t, string(b), string(next))
		}
	}
	assert.Equal(t, []string{"1a", "3b", "4c", "5d", "6e"}, got)
	_, err := jsonl.NewReader(strings.NewReader(text), 99_999, 8, 4).Next()
	require.NoError(t, err)
	_, err = jsonl.NewReader(strings.NewReader(strings.Repeat("x", 100)), 99, 0, 0).Next()
	require.ErrorIs(t, err, jsonl.ErrTooLong)
}

// Whatever the input is, what passes is what encoding/json reads in the same way.
func FuzzValidate(f *testing.F) {
	for _, s := range []string{line("a"), line("a") + "\n" + line("a"), "\xef\xbb\xbf{}", "{\n}", `{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"stream":tru`, "\r\n\r\n", `{"body":{"stream":true,"stream":false}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := rules()
		sum, faults, err := r.Validate(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if len(faults) > 0 {
			return
		}
		in := jsonl.NewReader(strings.NewReader(text), r.MaxLine, 0, 0)
		for range sum.Count {
			raw, err := in.Next()
			require.NoError(t, err)
			requireSame(t, r, raw)
		}
		_, err = in.Next()
		require.ErrorIs(t, err, io.EOF, "more lines than were counted")
	})
}

// requireSame holds that encoding/json reads a line as we do.
func requireSame(t *testing.T, r *jsonl.Rules, raw []byte) {
	t.Helper()
	var v struct {
		CustomID string `json:"custom_id"`
		Method   string `json:"method"`
		URL      string `json:"url"`
		Body     struct {
			Stream bool `json:"stream"`
		} `json:"body"`
	}
	require.NoError(t, json.Unmarshal(raw, &v))
	l, f := r.Check(raw)
	require.Nil(t, f)
	require.Equal(t, []string{l.CustomID, http.MethodPost, path}, []string{v.CustomID, v.Method, v.URL})
	require.False(t, v.Body.Stream)
}

func BenchmarkValidate(b *testing.B) {
	var text strings.Builder
	for i := range 1000 {
		text.WriteString(line(fmt.Sprint("r", i)) + "\n")
	}
	r := rules()
	r.MaxLines = 1000
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if n, faults, err := r.Validate(strings.NewReader(text.String())); n.Count != 1000 || len(faults) > 0 || err != nil {
			b.Fatal(n, faults, err)
		}
	}
}

// Lines are numbered as an editor does, and the offset leads to the next.
func TestReader(t *testing.T) {
	t.Parallel()
	type read struct {
		line   string
		number int
		offset int64
	}
	tests := []struct {
		name, in string
		want     []read
	}{
		{"nothing", "", nil},
		{"blank lines", "\n \r\n\t\n", nil},
		{"one", "a\n", []read{{"a", 1, 2}}},
		{"no end of line", "a\nb", []read{{"a", 1, 2}, {"b", 2, 3}}},
		{"CRLF", "a\r\nb\r\n", []read{{"a", 1, 3}, {"b", 2, 6}}},
		{"blank between", "a\n\n\nb\n", []read{{"a", 1, 2}, {"b", 4, 6}}},
		{"a mark at the begin", "\xef\xbb\xbfa\n\xef\xbb\xbfb\n", []read{{"a", 1, 5}, {"\xef\xbb\xbfb", 2, 10}}},
		{"at the bound", strings.Repeat("x", 10) + "\r\n", []read{{strings.Repeat("x", 10), 1, 12}}},
	}
	for _, tt := range tests {
		for _, in := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
			r := jsonl.NewReader(in, 10, 0, 0)
			var got []read
			for {
				line, err := r.Next()
				if err != nil {
					require.ErrorIs(t, err, io.EOF, tt.name)
					break
				}
				got = append(got, read{string(line), r.Number(), r.Offset()})
			}
			assert.Equal(t, tt.want, got, tt.name)
		}
	}
}

// What can't be read is an error, and never the end of the input.
func TestReaderErrors(t *testing.T) {
	t.Parallel()
	r := jsonl.NewReader(strings.NewReader("a\n"+strings.Repeat("x", 11)+"\nb\n"), 10, 0, 0)
	_, err := r.Next()
	require.NoError(t, err)
	_, err = r.Next()
	require.ErrorIs(t, err, jsonl.ErrTooLong)
	assert.Equal(t, 2, r.Number())
	for _, broken := range []error{errors.New("x"), io.ErrUnexpectedEOF} {
		in := io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(broken))
		r = jsonl.NewReader(in, 10, 0, 0)
		_, err = r.Next()
		require.NoError(t, err)
		_, err = r.Next()
		require.ErrorIs(t, err, broken)
		_, _, err = rules().Validate(io.MultiReader(strings.NewReader(line("a")+"\n"), iotest.ErrReader(broken)))
		require.ErrorIs(t, err, broken)
	}
}

// The first hundred faults are enough.
func TestValidateStopsAtHundredFaults(t *testing.T) {
	t.Parallel()
	r := rules()
	r.MaxLines = 1000
	sum, faults, err := r.Validate(strings.NewReader(line("a") + "\n" + strings.Repeat("{}\n", 500)))
	require.NoError(t, err)
	require.Len(t, faults, 100)
	assert.Equal(t, 2, *faults[0].Line)
	assert.Equal(t, 101, *faults[99].Line)
	assert.Equal(t, 101, sum.Count)
}
