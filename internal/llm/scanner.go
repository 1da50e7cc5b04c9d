package llm

import "net/http"

// Scanner reads a response while it passes. Call Reset before each response; a Scanner can
// be reused, from a sync.Pool for example. It must not be copied and is not safe for
// concurrent use. Its results do not depend on how the writes were split.
type Scanner struct {
	interpreter
	events Splitter
}

// Event is the content of a whole event of a stream.
type Event struct {
	Content bool // text, or anything else but a beginning
	Error   bool
	// Choices means that it has choices, NoChoices that the list is empty.
	Choices, NoChoices bool
	// Usage is the span of its usage in the data: Usage[0] to Usage[1]; 0, 0 if absent.
	Usage [2]int
}

// LastEvent returns the last complete event.
func (s *Scanner) LastEvent() Event { return s.last }

// Opening is how a response begins.
type Opening uint8

// The openings.
const (
	// Silent: no content yet.
	Silent Opening = iota
	// Begun: there was content, or something unknown.
	Begun
	// Failed: an error came before any content.
	Failed
)

// Phase is the activity of a stream. Each phase has its own pace.
type Phase uint8

// The phases.
const (
	// PhaseText: text or reasoning flows.
	PhaseText Phase = iota
	// PhaseWork: a tool's arguments accumulate, a search or code runs, or a part of the
	// content is complete. Silence is normal.
	PhaseWork
)

// Finish is a set of finish reasons.
type Finish uint8

// The reasons.
const (
	FinishStop Finish = 1 << iota
	FinishCalls
	FinishFiltered
	// FinishOther are reasons that are not a proper end, such as "abort".
	FinishOther
	// HadCalls: the model called tools. ServerTools: the server ran its own.
	HadCalls
	ServerTools
)

// Reset prepares the scanner for the response to a call of api with this header.
func (s *Scanner) Reset(api API, h http.Header) {
	s.interpreter = interpreter{meter: newMeter(), words: vocabularies[api], api: api, form: formOf(h), number: 1, event: event{choice: -1}}
	s.json.owner, s.json.root = &s.interpreter, s.words.root
	s.events.Reset(&s.interpreter)
}

// Write reads the next bytes. It never fails and retains none of them.
func (s *Scanner) Write(p []byte) (int, error) {
	if s.form != unreadable {
		lexed(len(p))
	}
	switch s.form {
	case eventStream:
		s.events.Write(p)
	case jsonBody:
		s.json.write(p)
		if s.json.state == broken && s.opening == Silent && !s.NotJSON() {
			s.opening = Begun // what follows may still be valid for lenient readers
		}
	case jsonLines:
		s.lines(p)
	case unreadable:
	}
	return len(p), nil
}

// WriteEvent reads bytes up to the end of an event. It returns how many it read and whether
// the last of them ended an event. Responses that are not streams have no events.
func (s *Scanner) WriteEvent(p []byte) (n int, ended bool) {
	if s.form != eventStream {
		_, _ = s.Write(p) // never fails
		return len(p), false
	}
	before := s.number
	s.event.stop = true
	n = s.events.Write(p)
	lexed(n)
	s.event.stop = false
	return n, s.number != before
}

// lines reads JSON Lines. Invalid lines are skipped.
func (s *Scanner) lines(p []byte) {
	for len(p) > 0 {
		p = s.json.write(p)
		switch s.json.state {
		case complete:
			s.endEvent()
			s.json.reset()
		case broken:
			end := find(p, '\n', 0, len(p))
			p = p[end:]
			if len(p) > 0 {
				s.endEvent()
				s.json.reset()
			}
		}
	}
}

// API returns the API of the response: the request's, or the one that its form shows.
func (s *Scanner) API() API { return s.api }

// Readable is false if the response can't be read: it is compressed, of another type, or
// declared as JSON of the API but is not.
func (s *Scanner) Readable() bool {
	if s.form == jsonBody {
		return s.json.state != broken && (!s.json.list || s.json.root.element != nil)
	}
	return s.form != unreadable
}

// NotJSON reports whether the response is declared as JSON but its first byte is not.
func (s *Scanner) NotJSON() bool {
	c := s.json.first
	return s.form == jsonBody && s.json.state == broken && c != '{' && c != '[' && c != '"' && !beginsScalar(c)
}

// Stream reports whether the response is a stream of events, in either framing.
func (s *Scanner) Stream() bool { return s.form == eventStream || s.form == jsonLines }

// Between reports whether an event may be inserted here.
func (s *Scanner) Between() bool { return s.form == eventStream && s.events.Between() }

// Opening returns how the response began, by its complete events so far.
func (s *Scanner) Opening() Opening { return s.opening }

// Phase returns the current phase of the stream.
func (s *Scanner) Phase() Phase { return s.phase }

// Finish returns the finish reasons, and tool calls that matter to caches.
func (s *Scanner) Finish() Finish { return s.finish }

// Finished reports whether the generation has finished: by the terminal event, a finish
// reason of each choice that began, or the end of the JSON.
func (s *Scanner) Finished() bool {
	return s.Terminal() || s.choices[1] != 0 && s.choices[0]&^s.choices[1] == 0
}

// Cut reports whether the ended response is incomplete: a stream with content but not the
// finish its API requires, or incomplete JSON.
func (s *Scanner) Cut() bool {
	if s.form == jsonBody {
		return s.json.state != complete && s.json.state != broken && s.json.state != beforeRoot
	}
	d := s.words.dialects[s.api]
	return d != nil && d.owes && (s.content || s.event.content) && !s.rests && !s.Finished()
}

// Empty reports whether there was nothing but white space, comments and [DONE].
func (s *Scanner) Empty() bool {
	switch s.form {
	case jsonBody:
		return s.json.state == beforeRoot
	case eventStream, jsonLines:
		return !s.recognized && s.opening == Silent && s.event == event{choice: -1}
	case unreadable:
	}
	return false
}

// Failure returns the error that the response reports; nil if none. An error of JSON-RPC is
// a regular response.
func (s *Scanner) Failure() *Error {
	switch {
	case s.keeps && s.kept != nil && !s.kept.isZero():
	case !s.failed && !s.event.isError, s.remote:
		return nil
	}
	return s.keep().error()
}
