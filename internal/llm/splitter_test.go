package llm_test

import (
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSplitterBetween(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, stream string
		at           bool
	}{
		{"the beginning", "", true},
		{"an event", "data: a\n\n", true},
		{"an event without its blank line", "data: a\n", false},
		{"half a line", "data: a", false},
		{"one byte", "d", false},
		{"half a comment", ": a", false},
		{"a comment", ": a\n", true},
		{"a comment within an event", "data: a\n: b\n", false},
		{"a comment after an event", "data: a\n\n:\n", true},
		{"many blank lines", "\n\n\n", true},
		{"many fields", "id: 1\nevent: x\ndata: a\ndata: b\n\n", true},
		{"an event after another", "data: a\n\nid: 1\n", false},
		{"CRLF", "data: a\r\n\r\n", true},
		{"CRLF, one line", "data: a\r\n", false},
		{"CRLF, cut within the blank line", "data: a\r\n\r", true},
		{"CRLF, cut within the line end", "data: a\r", false},
		{"CR", "data: a\r\r", true},
		{"CR, one line", "data: a\r", false},
		{"LF, then CR", "data: a\n\r", true},
		{"a line end of each kind", "data: a\r\ndata: b\n\r\n", true},
		{"a field without colon", "data\n", false},
		{"a name with a space before it", " :\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var whole, bytewise llm.Splitter
			whole.Write([]byte(tt.stream))
			assert.Equal(t, tt.at, whole.Between())
			for i := range len(tt.stream) {
				bytewise.Write([]byte{tt.stream[i]})
				bytewise.Write(nil)
			}
			assert.Equal(t, tt.at, bytewise.Between())
		})
	}
}

// between is the result of a Splitter, computed from the whole stream by the specification:
// split it into lines; after the last blank line there must be whole comments only.
func between(stream string) bool {
	stream = strings.ReplaceAll(stream, "\r\n", "\n")
	stream = strings.ReplaceAll(stream, "\r", "\n")
	lines := strings.Split(stream, "\n")
	if lines[len(lines)-1] != "" {
		return false // an unfinished line
	}
	open := false
	for _, line := range lines[:len(lines)-1] {
		switch {
		case line == "":
			open = false
		case line[0] != ':':
			open = true
		}
	}
	return !open
}

// FuzzSplitter splits a stream anywhere (the bytes of cuts are the lengths) and checks
// after every part.
func FuzzSplitter(f *testing.F) {
	f.Add("data: a\n\n: c\n\nid: 1\r\ndata: b\r\n\r\n", []byte{1, 2, 3, 0, 5})
	f.Add("data\r\r:\r\n\r\n\n\r", []byte{1, 1, 1, 1, 1, 1, 1, 1, 1, 1})
	f.Add(": only\r", []byte{7})
	f.Fuzz(func(t *testing.T, stream string, cuts []byte) {
		var b llm.Splitter
		done := 0
		for _, n := range append(cuts, 255) {
			next := min(done+int(n), len(stream))
			b.Write([]byte(stream[done:next]))
			done = next
			require.Equal(t, between(stream[:done]), b.Between(), "after %q", stream[:done])
		}
	})
}

func BenchmarkSplitter(b *testing.B) {
	event := []byte(`data: {"choices":[{"delta":{"content":"word"}}]}` + "\n\n")
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	var between llm.Splitter
	for b.Loop() {
		between.Write(event)
	}
}
