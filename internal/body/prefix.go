package body

import (
	"bytes"

	"github.com/ginfer/ginfer/internal/llm"
)

// maxDepth is the nesting depth up to which a cut JSON text is completed.
const maxDepth = 64

// readPrefix parses the beginning of a body that is too long to hold. Of JSON it completes the
// text where it is cut, in b itself, and restores b afterwards.
func readPrefix(h *head, b []byte) *llm.Request {
	cut, end := mend(b)
	if cut == 0 || h.isForm() {
		return h.read(b)
	}
	kept := bytes.Clone(b[cut : cut+len(end)])
	copy(b[cut:], end)
	q := h.read(b[:cut+len(end)])
	copy(b[cut:], kept)
	return q
}

// mend completes the beginning of a JSON object: b[:cut] followed by end is an object, and
// cut+len(end) is within b. For other text it returns 0.
func mend(b []byte) (cut int, end []byte) {
	m := mender{b: b[:max(len(b)-2*maxDepth, 0)]}
	m.read()
	if m.cut == 0 {
		return 0, nil
	}
	end = m.tail
	for i := m.cutDepth - 1; i >= 0; i-- {
		end = append(end, m.stack[i])
	}
	return m.cut, end
}

// mender tracks JSON's structure.
type mender struct {
	b        []byte
	i        int
	stack    [maxDepth]byte // the closing bytes of the open objects and arrays
	depth    int
	isName   bool // the next string is a member's name
	cut      int
	cutDepth int
	tail     []byte // closes a value that is cut
}

// mark records that the text can be completed at i.
func (m *mender) mark(i int) { m.cut, m.cutDepth = i, m.depth }

func (m *mender) read() {
	for ; m.i < len(m.b); m.i++ {
		ok := true
		switch c := m.b[m.i]; c {
		case ' ', '\t', '\r', '\n':
		case '{', '[':
			ok = m.open(c)
		case '}', ']':
			ok = m.close(c)
		default:
			ok = m.depth > 0 && m.inside(c)
		}
		if !ok {
			return
		}
	}
}

func (m *mender) open(c byte) bool {
	if m.depth == maxDepth || m.depth == 0 && c == '[' {
		return false
	}
	m.stack[m.depth] = c + 2 // as ASCII has it
	m.depth++
	m.isName = c == '{'
	m.mark(m.i + 1)
	return true
}

func (m *mender) close(c byte) bool {
	if m.depth == 0 || m.stack[m.depth-1] != c {
		return false
	}
	m.depth--
	m.isName = false
	if m.mark(m.i + 1); m.depth == 0 { // the value is whole: nothing follows
		m.cut = 0
	}
	return m.depth > 0
}

// inside handles a byte within an object or array.
func (m *mender) inside(c byte) bool {
	switch c {
	case ',':
		m.mark(m.i)
		m.isName = m.stack[m.depth-1] == '}'
	case ':':
		m.isName = false
	case '"':
		return m.text()
	}
	return true
}

// text skips to the end of a string, and reports whether there is one. A value that is cut can be
// completed before its last escape.
func (m *mender) text() bool {
	start := m.i + 1
	for i := start; ; {
		n := bytes.IndexByte(m.b[i:], '"')
		if n < 0 {
			m.cutText(start)
			return false
		}
		i += n
		if before := m.b[start:i]; (len(before)-len(bytes.TrimRight(before, `\`)))%2 == 0 {
			m.i = i
			break
		}
		i++
	}
	if !m.isName {
		m.mark(m.i + 1)
	}
	return true
}

// cutText completes a value within its text, where no escape may be open.
func (m *mender) cutText(start int) {
	if m.isName {
		return
	}
	const longestEscape = 12 // a pair of \uXXXX
	end := len(m.b)
	for i := max(end-longestEscape, start); i < end; i++ {
		if m.b[i] == '\\' {
			end = i
		}
	}
	for ; end > start && m.b[end-1] == '\\'; end-- {
	}
	m.mark(end)
	m.tail = []byte{'"'}
}
