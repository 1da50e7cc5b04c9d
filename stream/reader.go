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

// defaultMaxMessage is the default size limit of a message, and of a line, in bytes.
const defaultMaxMessage = 1 << 20

// ErrTooLong is returned when a line or a message exceeds the size limit.
var ErrTooLong = errors.New("stream: message too long")

const bufferSize = 4 << 10

// Reader reads messages from a stream of server-sent events. It follows the WHATWG standard: it
// skips one byte order mark, accepts LF, CR and CRLF as line ends, and ignores comments,
// unknown fields, messages without data and an unfinished message at the end. It returns a
// message as soon as its blank line has arrived; after a CR it does not wait for an LF. Bytes
// that are not UTF-8 are passed as they are.
//
// It is not safe for concurrent use.
type Reader struct {
	src   io.Reader
	bound int

	buf   []byte
	start int // of the unread part of buf
	split llm.Splitter
	err   error

	id     string // the latest ID
	lastID string // the latest ID of a whole message
	retry  time.Duration

	event   string
	value   []byte // of a line other than data
	data    []byte
	hasData bool
	message Message // the complete message
	ready   bool    // message is set
}

// NewReader returns a Reader with a limit of maxMessage bytes for each line and message; 0 means
// 1 MiB.
func NewReader(r io.Reader, maxMessage int) *Reader {
	if maxMessage <= 0 {
		maxMessage = defaultMaxMessage
	}
	out := &Reader{src: r, bound: maxMessage}
	out.split.Reset(sink{out})
	return out
}

// Next returns the next message. At the end of the stream it returns io.EOF, or
// io.ErrUnexpectedEOF within a message. After an error it keeps returning that error.
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

// All returns an iterator over the messages up to the end of the stream. An error other than
// io.EOF is the last element.
func (r *Reader) All() iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			m, err := r.Next()
			if err == io.EOF { //nolint:errorlint // a wrapped EOF is no clean end
				return
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// LastID returns the ID to send as Last-Event-ID on reconnect.
func (r *Reader) LastID() string { return r.lastID }

// Retry returns the latest reconnection time of the stream; 0: it sent none.
func (r *Reader) Retry() time.Duration { return r.retry }

// fill reads once, when the buffer is used up.
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

// end returns the error after the last line.
func (r *Reader) end() error {
	//nolint:errorlint // a wrapped EOF is no clean end
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

// checkLine limits the length of the current line.
func (r *Reader) checkLine() {
	if !errors.Is(r.err, ErrTooLong) && r.split.Line() > r.bound {
		r.tooLong("line")
	}
}

// sink implements llm.Sink for a Reader.
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

// setRetry accepts digits only.
func (r *Reader) setRetry(v string) {
	if strings.Trim(v, "0123456789") != "" {
		return
	}
	if ms, err := strconv.ParseInt(v, 10, 64); err == nil && ms <= int64(24*time.Hour/time.Millisecond) {
		r.retry = time.Duration(ms) * time.Millisecond
	}
}
