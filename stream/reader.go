package stream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"
)

// DefaultMaxMessage bounds one message, and one line, of a [Reader].
const DefaultMaxMessage = 1 << 20

// ErrTooLong: a line or a message was longer than the reader's bound.
var ErrTooLong = errors.New("stream: message too long")

const firstBuffer = 4 << 10

// Reader reads messages from a stream of server-sent events by the rules of the
// WHATWG standard: one byte order mark is skipped, lines end with LF, CR or
// CRLF, comments and unknown fields are ignored, a message without data is none,
// and an unfinished one at the end is dropped. A message is delivered as soon as
// its blank line is there; after a CR it does not wait for an LF. Bytes that are
// not UTF-8 are passed as they are.
//
// It is not safe for concurrent use.
type Reader struct {
	src   io.Reader
	bound int

	buf    []byte
	start  int // of what is unread in buf
	looked int // up to here, no line end was found
	skipLF bool
	begun  bool // the first line was read
	err    error

	id     string // the latest seen
	lastID string // the latest of a whole message
	retry  time.Duration

	fields  bool // a field of an unfinished message was read
	event   string
	data    []byte
	hasData bool
}

// NewReader returns a Reader whose lines and messages may have maxMessage bytes
// each; 0 means [DefaultMaxMessage].
func NewReader(r io.Reader, maxMessage int) *Reader {
	if maxMessage <= 0 {
		maxMessage = DefaultMaxMessage
	}
	return &Reader{src: r, bound: maxMessage}
}

// Next returns the next message. At the end of the stream the error is io.EOF,
// or io.ErrUnexpectedEOF when it ended within a message. Every error stays.
func (r *Reader) Next() (Message, error) {
	for {
		line, err := r.line()
		if err != nil {
			return Message{}, err
		}
		if len(line) > 0 {
			if err := r.field(line); err != nil {
				return Message{}, err
			}
			continue
		}
		if m, ok := r.dispatch(); ok {
			return m, nil
		}
	}
}

// All ranges over the messages up to the end of the stream. An error other
// than io.EOF is the last thing it yields.
func (r *Reader) All() iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			m, err := r.Next()
			if err == io.EOF { //nolint:errorlint // one that is wrapped is no clean end
				return
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// LastID is the ID to send as Last-Event-ID when connecting again.
func (r *Reader) LastID() string { return r.lastID }

// Retry is the latest time to wait before connecting again that the stream
// named; 0 when it named none.
func (r *Reader) Retry() time.Duration { return r.retry }

// line returns the next line without its end. It is valid until the next call.
func (r *Reader) line() ([]byte, error) {
	for {
		r.skip()
		end := bytes.IndexAny(r.buf[r.looked:], "\r\n")
		if end < 0 {
			r.looked = len(r.buf)
		} else {
			end += r.looked
			r.looked = end
		}
		if r.looked-r.start > r.bound {
			return nil, r.tooLong("line")
		}
		if end >= 0 {
			return r.take(end), nil
		}
		if r.err != nil {
			return nil, r.end()
		}
		r.fill()
	}
}

// skip drops the LF of a CRLF, when it is there.
func (r *Reader) skip() {
	if !r.skipLF || r.start == len(r.buf) {
		return
	}
	if r.buf[r.start] == '\n' {
		r.start++
		r.looked = max(r.looked, r.start)
	}
	r.skipLF = false
}

// take cuts off the line that ends at index end.
func (r *Reader) take(end int) []byte {
	line := r.buf[r.start:end]
	r.skipLF = r.buf[end] == '\r'
	r.start, r.looked = end+1, end+1
	if !r.begun {
		r.begun = true
		line = bytes.TrimPrefix(line, []byte("\ufeff"))
	}
	return line
}

// fill reads once, after making room.
func (r *Reader) fill() {
	if r.start > 0 {
		n := copy(r.buf, r.buf[r.start:])
		r.buf, r.looked, r.start = r.buf[:n], r.looked-r.start, 0
	}
	if len(r.buf) == cap(r.buf) {
		grown := make([]byte, len(r.buf), max(2*cap(r.buf), firstBuffer))
		copy(grown, r.buf)
		r.buf = grown
	}
	for range 100 { // a reader that returns nothing for ever is broken
		n, err := r.src.Read(r.buf[len(r.buf):cap(r.buf)])
		r.buf, r.err = r.buf[:len(r.buf)+n], err
		if n > 0 || err != nil {
			return
		}
	}
	r.err = io.ErrNoProgress
}

// end is the error after the last line.
func (r *Reader) end() error {
	//nolint:errorlint // one that is wrapped is no clean end
	if r.err == io.EOF && (r.fields || r.start < len(r.buf)) {
		r.err = io.ErrUnexpectedEOF
		r.fields, r.buf, r.start, r.looked = false, nil, 0, 0
	}
	return r.err
}

func (r *Reader) tooLong(what string) error {
	r.err = fmt.Errorf("%w: a %s of more than %d bytes", ErrTooLong, what, r.bound)
	r.buf, r.start, r.looked = nil, 0, 0
	return r.err
}

// field takes a line that is not blank.
func (r *Reader) field(line []byte) error {
	if line[0] == ':' {
		return nil
	}
	r.fields = true
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "data":
		if len(r.data)+len(value) >= r.bound {
			return r.tooLong("message")
		}
		r.data = append(append(r.data, value...), '\n')
		r.hasData = true
	case "event":
		r.event = string(value)
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			r.id = string(value)
		}
	case "retry":
		r.setRetry(string(value))
	}
	return nil
}

// setRetry takes digits and nothing else.
func (r *Reader) setRetry(v string) {
	if strings.Trim(v, "0123456789") != "" {
		return
	}
	if ms, err := strconv.ParseInt(v, 10, 64); err == nil && ms <= int64(24*time.Hour/time.Millisecond) {
		r.retry = time.Duration(ms) * time.Millisecond
	}
}

// dispatch ends a message at its blank line.
func (r *Reader) dispatch() (Message, bool) {
	r.lastID = r.id
	m := Message{ID: r.lastID, Event: r.event, Retry: r.retry}
	ok := r.hasData
	if ok {
		m.Data = string(r.data[:len(r.data)-1])
	}
	r.event, r.data, r.hasData, r.fields = "", r.data[:0], false, false
	return m, ok
}
