package llm

import (
	"encoding/json"
	"errors"
)

// Reasons why a response should not be stored.
var (
	ErrIncomplete = errors.New("incomplete")
	ErrFailed     = errors.New("error")
	ErrFiltered   = errors.New("content-filter")
	ErrToolCalls  = errors.New("tool-calls")
	ErrUnreadable = errors.New("unreadable")
)

// Check returns the reason why a whole response should not be stored, or nil. Tool calls
// may be stored only if toolCalls is set. Results of a server's own tools are never stored,
// as they are soon outdated.
func Check(a API, stream bool, body []byte, toolCalls bool) error {
	if !stream && !json.Valid(body) {
		return ErrIncomplete
	}
	m := scanned(a, stream, body).Summary()
	return m.Check(toolCalls)
}

// Summary is the verdict on a whole response for caches.
type Summary struct {
	// Fault is the reason why it should not be stored, apart from tool calls; nil if none.
	Fault error
	// Ended means that it is complete and not an error, Stream that it is a stream.
	Ended, Stream bool

	finish Finish
}

// Summary returns the summary of a response that was read to its end.
func (s *Scanner) Summary() Summary {
	stream := s.form == eventStream
	return Summary{
		Fault: s.whole(s.api, stream), Stream: stream, finish: s.finish,
		Ended: !s.isFault() && (!stream || s.terminal && !s.trails && s.Between()),
	}
}

// Check returns the result of the function [Check] for the response.
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

// Ended reports whether a response is complete and not an error, whatever its content. A
// stream is complete if its terminal event has passed and nothing follows.
func Ended(a API, stream bool, body []byte) bool {
	if !stream && len(body) == 0 {
		return true
	}
	if !stream && !json.Valid(body) {
		return false
	}
	return scanned(a, stream, body).Summary().Ended
}

// scanned returns a scanner that has read a whole response.
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

// isFault reports whether any error was read, including one of JSON-RPC.
func (s *Scanner) isFault() bool { return s.failed || s.faulty }

// whole returns the reason why a response is not complete.
func (s *Scanner) whole(a API, stream bool) error {
	switch {
	case s.isFault():
		return ErrFailed
	case s.odd:
		return ErrUnreadable
	case stream:
		return s.wholeStream(a)
	case a == Messages && s.lastKind != knownType:
		return ErrUnreadable
	case a.Converts() && !s.stops(), a == Responses && s.finish&FinishStop == 0, a == Embeddings && !s.last.Choices:
		return ErrIncomplete
	}
	return nil
}

// stops reports whether there are choices and each has a finish reason.
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
