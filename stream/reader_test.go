package stream_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func readAll(r *stream.Reader) ([]stream.Message, error) {
	var out []stream.Message
	for {
		m, err := r.Next()
		if err != nil {
			return out, err
		}
		out = append(out, m)
	}
}

func TestReader(t *testing.T) {
	t.Parallel()
	msg := func(data ...string) []stream.Message {
		var out []stream.Message
		for _, d := range data {
			out = append(out, stream.Message{Data: d})
		}
		return out
	}
	tests := []struct {
		name, in string
		want     []stream.Message
		err      error
	}{
		{"empty", "", nil, io.EOF},
		{"one", "data: a\n\n", msg("a"), io.EOF},
		{"CR", "data: a\r\rdata: b\r\r", msg("a", "b"), io.EOF},
		{"CRLF", "data: a\r\n\r\ndata: b\r\n\r\n", msg("a", "b"), io.EOF},
		{"mixed", "data: a\r\ndata: b\rdata: c\n\n", msg("a\nb\nc"), io.EOF},
		{"BOM", "\ufeffdata: a\n\n", msg("a"), io.EOF},
		{"only one BOM", "\ufeff\ufeffdata: a\n\ndata: b\n\n", msg("b"), io.EOF},
		{"BOM later is data", "data: \ufeffa\n\n", msg("\ufeffa"), io.EOF},
		{"one space is dropped", "data:a\n\ndata:  b\n\n", msg("a", " b"), io.EOF},
		{"first colon", "data: a:b\n\n", msg("a:b"), io.EOF},
		{"comment", ": hi\ndata: a\n:\n\n", msg("a"), io.EOF},
		{"unknown field", "foo: x\ndata: a\n\n", msg("a"), io.EOF},
		{"field without colon", "data\n\ndata\ndata\n\n", msg("", "\n"), io.EOF}, //nolint:dupword // on purpose
		{"no data, no message", "event: x\n\ndata: a\n\n", msg("a"), io.EOF},
		{"unfinished", "data: a\n\ndata: b\n", msg("a"), io.ErrUnexpectedEOF},
		{"unfinished line", "data: a\n\ndata: b", msg("a"), io.ErrUnexpectedEOF},
		{"names are exact", "Data: a\n data: b\ndata : c\n\n", nil, io.EOF},
		{"event", "event: error\ndata: a\n\ndata: b\n\n", []stream.Message{{Event: "error", Data: "a"}, {Data: "b"}}, io.EOF},
		{"id stays", "id: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", []stream.Message{{ID: "7", Data: "a"}, {ID: "7", Data: "b"}, {Data: "c"}}, io.EOF},
		{"id with NUL", "id: a\x00b\ndata: a\n\n", msg("a"), io.EOF},
		{"id without data", "id: 7\n\ndata: a\n\n", []stream.Message{{ID: "7", Data: "a"}}, io.EOF},
		{"retry", "retry: 1500\n\ndata: a\n\nretry: 1s\ndata: b\n\n", []stream.Message{{Data: "a", Retry: 1500 * time.Millisecond}, {Data: "b", Retry: 1500 * time.Millisecond}}, io.EOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for name, src := range map[string]io.Reader{
				"whole":        strings.NewReader(tt.in),
				"byte by byte": iotest.OneByteReader(strings.NewReader(tt.in)),
				"data and EOF": iotest.DataErrReader(strings.NewReader(tt.in)),
			} {
				got, err := readAll(stream.NewReader(src, 0))
				assert.Equal(t, tt.want, got, name)
				assert.Equal(t, tt.err, err, name)
			}
		})
	}
}

// After a CR the message is complete; waiting for an LF would delay it until the next one.
func TestReaderDoesNotWaitAfterCR(t *testing.T) {
	t.Parallel()
	pr, pw := io.Pipe()
	r := stream.NewReader(pr, 0)
	go func() { _, _ = pw.Write([]byte("data: a\r\r")) }()
	m, err := r.Next()
	require.NoError(t, err)
	assert.Equal(t, "a", m.Data)
	require.NoError(t, pw.Close())
	_, err = r.Next()
	assert.Equal(t, io.EOF, err)
}

func TestReaderBounds(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"line":    "data: " + strings.Repeat("a", 5000) + "\n\n",
		"message": strings.Repeat("data: "+strings.Repeat("a", 300)+"\n", 5) + "\n",
	} {
		r := stream.NewReader(strings.NewReader("data: ok\n\n"+in), 1000)
		m, err := r.Next()
		require.NoError(t, err, name)
		assert.Equal(t, "ok", m.Data)
		_, err = r.Next()
		require.ErrorIs(t, err, stream.ErrTooLong, name)
		require.ErrorContains(t, err, name)
		_, again := r.Next()
		assert.ErrorIs(t, again, stream.ErrTooLong, "it stays")
	}
}

// A line is too long however its bytes arrive.
func TestReaderBoundsDoNotDependOnReads(t *testing.T) {
	t.Parallel()
	for n := 985; n < 1005; n++ {
		text := "data: " + strings.Repeat("a", n) + "\n\n"
		_, whole := stream.NewReader(strings.NewReader(text), 1000).Next()
		_, bytewise := stream.NewReader(iotest.OneByteReader(strings.NewReader(text)), 1000).Next()
		assert.Equal(t, whole, bytewise, n)
	}
}

// A client that reconnects must not skip a message that it never received.
func TestReaderLastIDOfUnfinishedMessage(t *testing.T) {
	t.Parallel()
	r := stream.NewReader(strings.NewReader("id: 7\ndata: a\n\nid: 8\ndata: b"), 0)
	_, err := readAll(r)
	assert.Equal(t, io.ErrUnexpectedEOF, err)
	assert.Equal(t, "7", r.LastID())
}

// An error that wraps io.EOF is no clean end.
func TestReaderWrappedEOF(t *testing.T) {
	t.Parallel()
	broken := fmt.Errorf("broken: %w", io.EOF)
	var last error
	for _, err := range stream.NewReader(io.MultiReader(strings.NewReader("data: a\n\n"), iotest.ErrReader(broken)), 0).All() {
		last = err
	}
	assert.Equal(t, broken, last)
}

func TestReaderError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	r := stream.NewReader(io.MultiReader(strings.NewReader("id: 3\nretry: 5\ndata: a\n\ndata: b\n"), iotest.ErrReader(broken)), 0)
	var got []string
	var last error
	for m, err := range r.All() {
		if last = err; err == nil {
			got = append(got, m.Data)
		}
	}
	assert.Equal(t, []string{"a"}, got)
	assert.Equal(t, broken, last)
	assert.Equal(t, "3", r.LastID())
	assert.Equal(t, 5*time.Millisecond, r.Retry())
	_, err := stream.NewReader(stalled{}, 0).Next()
	assert.Equal(t, io.ErrNoProgress, err)
}

type stalled struct{}

func (stalled) Read([]byte) (int, error) { return 0, nil }

// reference is the standard's algorithm, written as it reads: all line ends become LF, the text
// is split, each line is parsed.
func reference(text string) []stream.Message {
	text = strings.TrimPrefix(text, "\ufeff")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(text, "\n")
	lines = lines[:len(lines)-1] // a line without an end does not count
	var out []stream.Message
	var data, event, id string
	var retry time.Duration
	for _, line := range lines {
		if line == "" {
			if data != "" {
				out = append(out, stream.Message{ID: id, Event: event, Data: strings.TrimSuffix(data, "\n"), Retry: retry})
			}
			data, event = "", ""
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "data":
			data += value + "\n"
		case "event":
			event = value
		case "id":
			if !strings.Contains(value, "\x00") {
				id = value
			}
		case "retry":
			if wait, ok := digits(value); ok {
				retry = wait
			}
		}
	}
	return out
}

func digits(v string) (time.Duration, bool) {
	n, ok := 0, v != "" && len(v) < 8
	for _, c := range v {
		ok = ok && c >= '0' && c <= '9'
		n = n*10 + int(c-'0')
	}
	return time.Duration(n) * time.Millisecond, ok
}

func FuzzReader(f *testing.F) {
	for _, s := range []string{"data: a\n\n", "\ufeffid: 1\r\nevent: x\r\ndata\r\n\r\n", "retry: 12\rdata: b\r\r", ":\n\ndata:\n\n", "id: \x00\ndata: x\n\n\n"} {
		f.Add(s, uint8(3))
	}
	f.Fuzz(func(t *testing.T, text string, cut uint8) {
		if strings.Contains(text, "retry") && strings.ContainsAny(text, "0123456789") && len(text) > 40 {
			t.Skip("long retries are bounded differently")
		}
		want := reference(text)
		src := io.Reader(strings.NewReader(text))
		if cut > 0 {
			src = &pieces{text, int(cut)}
		}
		got, err := readAll(stream.NewReader(src, 0))
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("unexpected error %v", err)
		}
		assert.Equal(t, want, got)
	})
}

// pieces is a reader that returns n bytes at a time.
type pieces struct {
	rest string
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.rest == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(p.n, len(b))], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

func BenchmarkReader(b *testing.B) {
	text := strings.Repeat(`data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"tok"}}]}`+"\n\n", 1000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if got, _ := readAll(stream.NewReader(strings.NewReader(text), 0)); len(got) != 1000 {
			b.Fatal(len(got))
		}
	}
}
