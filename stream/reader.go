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

	"github.com/ginfer/ginfer/internal/llm"
)

// DefaultMaxMessage bounds one message, and one line, of a [Reader].
const DefaultMaxMessage = 1 << 20

// ErrTooLong: a line or a message was longer than the reader's bound.
var ErrTooLong = errors.New("stream: message too long")

const bufferSize = 4 << 10

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

	buf   []byte
	start int // of what is unread in buf
	split llm.Splitter
	err   error

	id     string // the latest seen
	lastID string // the latest of a whole message
	retry  time.Duration

	event   string
	value   []byte // of a line that is not data
	data    []byte
	hasData bool
	message Message // that is complete
	ready   bool    // it is there
}

// NewReader returns a Reader whose lines and messages may have maxMessage bytes
// each; 0 means [DefaultMaxMessage].
func NewReader(r io.Reader, maxMessage int) *Reader {
	if maxMessage <= 0 {
		maxMessage = DefaultMaxMessage
	}
	out := &Reader{src: r, bound: maxMessage}
	out.split.Reset(sink{out})
	return out
}

// Next returns the next message. At the end of the stream the error is io.EOF,
// or io.ErrUnexpectedEOF when it ended within a message. Every error stays.
func (r *Reader) Next() (Message, error) {
	for {
		if r.start < len(r.buf) {
			r.start += r.split.Write(r.buf[r.start:])
			r.checkLine()
			if r.ready {
				r.ready = false
				return r.message, nil
			}
			continue
		}
		if r.err != nil {
			return Message{}, r.end()
		}
		r.fill()
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

// fill reads once, when all that came before is read.
func (r *Reader) fill() {
	if r.buf == nil {
		r.buf = make([]byte, 0, bufferSize)
	}
	r.start = 0
	for range 100 { // a reader that returns nothing for ever is broken
		n, err := r.src.Read(r.buf[:cap(r.buf)])
		r.buf, r.err = r.buf[:n], err
		if n > 0 || err != nil {
			return
		}
	}
	r.err = io.ErrNoProgress
}

// end is the error after the last line.
func (r *Reader) end() error {
	//nolint:errorlint // one that is wrapped is no clean end
	if r.err == io.EOF && !r.split.Between() {
		r.err = io.ErrUnexpectedEOF
	}
	r.buf = nil
	return r.err
}

func (r *Reader) tooLong(what string) {
	r.err = fmt.Errorf("%w: a %s of more than %d bytes", ErrTooLong, what, r.bound)
	r.buf, r.start, r.data = nil, 0, nil
}

// checkLine bounds the line that is read.
func (r *Reader) checkLine() {
	if !errors.Is(r.err, ErrTooLong) && r.split.Line() > r.bound {
		r.tooLong("line")
	}
}

// sink is a Reader as its splitter sees it.
type sink struct{ *Reader }

// Piece implements llm.Sink.
func (r sink) Piece(f llm.Field, p []byte) {
	switch {
	case f == llm.Data:
		r.data = append(r.data, p...)
	case p == nil:
		r.value = r.value[:0]
	case f == llm.EventName || f == llm.ID || f == llm.Retry:
		r.value = append(r.value, p...)
	}
}

// LineEnd implements llm.Sink.
func (r sink) LineEnd(f llm.Field) {
	r.checkLine()
	switch {
	case f == llm.Data && len(r.data) >= r.bound && !errors.Is(r.err, ErrTooLong):
		r.tooLong("message")
	case f == llm.Data:
		r.data = append(r.data, '\n')
		r.hasData = true
	case f == llm.EventName:
		r.event = string(r.value)
	case f == llm.ID && bytes.IndexByte(r.value, 0) < 0:
		r.id = string(r.value)
	case f == llm.Retry:
		r.setRetry(string(r.value))
	}
}

// EventEnd implements llm.Sink.
func (r sink) EventEnd() (stop bool) {
	if errors.Is(r.err, ErrTooLong) {
		return true
	}
	r.lastID = r.id
	if r.hasData {
		r.message = Message{ID: r.lastID, Event: r.event, Retry: r.retry, Data: string(r.data[:len(r.data)-1])}
	}
	r.ready = r.hasData
	r.event, r.data, r.hasData = "", r.data[:0], false
	return r.ready
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
