package hold_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzAnswer cuts an answer anywhere (the bytes of lengths say where): the verdict is
// the same as for the whole, and what passes comes out as it went in.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{role + hello + done, ping + role + busy, started, created, unfit, "data: a\r\rdata:b\r\n\r\n", "\ufeffdata: [DONE]\n\n"} {
		f.Add(s, []byte{1, 20, 3}, true, true)
		f.Add(s, []byte{255}, true, false)
	}
	for _, s := range []string{`{"error":{"message":"x","code":500}}`, `{"a":1}{"a":`, "[1]", "<", "\ufeff{}"} {
		f.Add(s, []byte{2, 2}, false, true)
	}
	f.Fuzz(func(t *testing.T, answer string, lengths []byte, stream, clean bool) {
		contentType, end := jsonType, io.ErrUnexpectedEOF
		if stream {
			contentType = events
		}
		if clean {
			end = io.EOF
		}
		var pieces []string
		rest := answer
		for _, n := range lengths {
			n := min(int(n), len(rest))
			if n > 0 {
				pieces = append(pieces, rest[:n])
			}
			rest = rest[n:]
		}
		if rest != "" {
			pieces = append(pieces, rest)
		}
		require.Equal(t, passes(t, contentType, end, answer), passes(t, contentType, end, pieces...), "%q", pieces)
	})
}
