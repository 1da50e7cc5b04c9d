package llm

// word buffers a short text that arrives in pieces. One that fills it is too long to be
// known.
type word struct {
	b [128]byte
	n int
}

func (w *word) add(p []byte) { w.n += copy(w.b[w.n:], p) }

// bytes returns nil if the text is too long.
func (w *word) bytes() []byte {
	if w.n == len(w.b) {
		return nil
	}
	return w.b[:w.n]
}

// maxCount keeps the product of two counts within an int64.
const maxCount = 1_000_000_000

// count parses an integer from 0 to maxCount.
func count(v []byte) (n int64, ok bool) {
	if len(v) == 0 || len(v) > len("1000000000") || v[0] == '0' && len(v) > 1 {
		return 0, false
	}
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, n <= maxCount
}

// set replaces the text.
func (w *word) set(p []byte) {
	w.n = 0
	w.add(p)
}
