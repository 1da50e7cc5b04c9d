package llm

import (
	"encoding/json"
	"errors"
)

// Why a response is not worth keeping.
var (
	ErrIncomplete = errors.New("incomplete")
	ErrFailed     = errors.New("error")
	ErrFiltered   = errors.New("content-filter")
	ErrToolCalls  = errors.New("tool-calls")
	ErrUnreadable = errors.New("unreadable")
)

// Check reports why a whole response is not worth keeping, or nil. Calls of tools are
// worth it only if so said; what a server's own tool found is true for a moment only.
func Check(a API, stream bool, body []byte, toolCalls bool) error {
	if !stream && !json.Valid(body) {
		return ErrIncomplete
	}
	m := scanned(a, stream, body).Summary()
	return m.Check(toolCalls)
}

// Summary is what a whole response was, as far as it matters to who keeps it.
type Summary struct {
	// Fault is why it is not worth keeping, or nil; calls of tools are none.
	Fault error
	// Ended: it came to its end and is no error. Stream: it is one.
	Ended, Stream bool

	finish Finish
}

// Summary is what the scanner has read, to its end.
func (s *Scanner) Summary() Summary {
	stream := s.form == eventStream
	return Summary{
		Fault: s.whole(s.api, stream), Stream: stream, finish: s.finish,
		Ended: !s.isFault() && (!stream || s.terminal && !s.trails && s.Between()),
	}
}

// Check is [Check] of the response.
func (s *Summary) Check(toolCalls bool) error {
	if s.Fault != nil {
		return s.Fault
	}
	switch {
	case s.finish&FinishFiltered != 0:
		return ErrFiltered
	case s.finish&FinishOther != 0:
		return ErrIncomplete
	case s.finish&ServerTools != 0, s.finish&(HadCalls|FinishCalls) != 0 && !toolCalls:
		return ErrToolCalls
	}
	return nil
}

// Ended reports whether a response came to its end and is no error, whatever it says. Of a
// stream that means that its terminal event has passed, and nothing follows it.
func Ended(a API, stream bool, body []byte) bool {
	if !stream && len(body) == 0 {
		return true
	}
	if !stream && !json.Valid(body) {
		return false
	}
	return scanned(a, stream, body).Summary().Ended
}

// scanned is a scanner that has read a whole response.
func scanned(a API, stream bool, body []byte) *Scanner {
	var s Scanner
	s.Reset(a, nil)
	s.form = jsonBody
	if stream {
		s.form = eventStream
	}
	_, _ = s.Write(body) // never fails
	return &s
}

// isFault reports whether anything says that it failed, in JSON-RPC too.
func (s *Scanner) isFault() bool { return s.failed || s.faulty }

// whole reports why a response is not whole.
func (s *Scanner) whole(a API, stream bool) error {
	switch {
	case s.isFault():
		return ErrFailed
	case s.odd:
		return ErrUnreadable
	case stream:
		return s.wholeStream(a)
	case a == Messages && s.lastKind != told:
		return ErrUnreadable
	case a.Converts() && !s.stops(), a == Responses && s.finish&FinishStop == 0, a == Embeddings && !s.last.Choices:
		return ErrIncomplete
	}
	return nil
}

// stops reports whether there are choices, and each said why it ended.
func (s *Scanner) stops() bool { return s.choices[0] != 0 && s.choices[0] == s.choices[1] }

func (s *Scanner) wholeStream(a API) error {
	known := a.Converts() || a == Responses
	switch {
	case known && s.trails, !known && s.number > 1:
		return ErrUnreadable
	case !s.Between(), a.Converts() && !s.stops(), a == Responses && s.finish&FinishStop == 0 && !s.rests:
		return ErrIncomplete
	case !known && !s.terminal:
		return ErrIncomplete
	}
	return nil
}
