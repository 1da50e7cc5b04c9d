package usage

import (
	"net/http"
	"strings"

	"github.com/ginfer/ginfer/internal/sse"
)

// Scanner reads an answer while it passes. It reads nothing before Reset and
// can be used again after another, from a sync.Pool for example; it must not be
// copied, and is not safe for concurrent use. What it says is the same wherever
// the writes were cut.
type Scanner struct {
	form   form
	json   lexer
	events events

	counts  [places]int64 // what the server said; -1 is nothing
	counted int64         // the event that last said what came out
	written int64         // the event that last had text
	event   int64         // the event that passes, from 1

	head   [len(done)]byte // how the data of the event begins
	headed int

	letters int64 // bytes of text
	texts   int64 // events that had some
	ended   bool
	failed  bool
	remote  bool // it is of JSON-RPC, whose errors are answers
}

type form uint8

const (
	unreadable form = iota
	jsonBody
	eventStream
)

const done = "[DONE]"

// Reset makes ready for the answer with this header.
func (s *Scanner) Reset(h http.Header) {
	*s = Scanner{form: formOf(h), event: 1}
	s.json.owner, s.json.root = s, atAnswer
	s.events.scanner = s
	for i := range s.counts {
		s.counts[i] = -1
	}
}

func formOf(h http.Header) form {
	for _, encoding := range h.Values("Content-Encoding") {
		if encoding != "" && !strings.EqualFold(encoding, "identity") {
			return unreadable
		}
	}
	contentType := h.Get("Content-Type")
	if sse.Is(contentType) {
		return eventStream
	}
	mediaType, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	mediaType = strings.TrimSpace(mediaType)
	if mediaType == "application/json" || strings.HasSuffix(mediaType, "+json") {
		return jsonBody
	}
	return unreadable
}

// Write takes the next bytes. It never fails, and keeps none of them.
func (s *Scanner) Write(p []byte) (int, error) {
	switch s.form {
	case eventStream:
		s.events.write(p)
	case jsonBody:
		s.json.write(p)
	case unreadable:
	}
	return len(p), nil
}

// Readable is false if nothing can be known of the answer: it is compressed, of
// another type, or not JSON although it says so.
func (s *Scanner) Readable() bool {
	return s.form != unreadable && (s.form != jsonBody || s.json.state != broken)
}

// Delivered estimates the tokens that the model wrote, so far, from its text: one
// for each event that had some (servers send most tokens alone), or one for four
// bytes, whichever is more.
func (s *Scanner) Delivered() int64 { return max(s.texts, (s.letters+3)/4) }

// Events is how many events so far had text: content, reasoning, or the call of a
// tool. A JSON answer with text is one.
func (s *Scanner) Events() int64 { return s.texts }

// Ended reports whether the answer is complete: its last event passed, or the
// end of its JSON.
func (s *Scanner) Ended() bool { return s.ended }

// Failed reports whether the answer says that it failed, whatever its status. An error
// of JSON-RPC is an answer.
func (s *Scanner) Failed() bool { return s.failed && !s.remote }

// data takes a piece of the data of an event.
func (s *Scanner) data(p []byte) {
	if s.headed < len(done) {
		s.headed += copy(s.head[s.headed:], p)
		s.ended = s.ended || string(s.head[:s.headed]) == done
	}
	s.json.write(p)
}

func (s *Scanner) endEvent() {
	s.event++
	s.headed = 0
	s.json.reset()
}

func (s *Scanner) text(p place, size int) {
	switch p {
	case atContent, atDelta, atBlocks:
		s.letters += int64(size)
		if s.written != s.event {
			s.written = s.event
			s.texts++
		}
	case atFailure:
		s.failed = true
	}
}

func (s *Scanner) value(p place, v []byte) {
	switch p {
	case atType:
		s.typed(v)
		return
	case atRPC:
		s.remote = true
		return
	}
	n, ok := count(v)
	if !ok || n == 0 && s.counts[p] > 0 { // servers fill in 0 for what they said before
		return
	}
	s.counts[p] = n
	if p == atOutput || p == atTotal {
		s.counted = s.event
	}
}

// typed takes the type of an event, or of an answer.
func (s *Scanner) typed(v []byte) {
	switch string(v) {
	case "message_stop", "response.completed", "response.incomplete":
		s.ended = true
	case "response.failed":
		s.ended, s.failed = true, true
	case "error":
		s.failed = true
	}
}

func (s *Scanner) closed(p place) {
	if p == atAnswer && s.form == jsonBody {
		s.ended = true
	}
}
