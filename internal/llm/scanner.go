package llm

import "net/http"

// Scanner reads a response while it passes. It reads nothing before Reset and can be used
// again after another, from a sync.Pool for example; it must not be copied, and is not safe
// for concurrent use. What it says is the same wherever the writes were cut.
type Scanner struct {
	words  *vocabulary
	api    API // by the path, or by what it says
	form   form
	json   lexer
	events Splitter

	event   event // that passes
	name    word  // of it
	number  int64 // its, from 1
	counts  [thoughtCount - promptCount + 1]int64
	counted int64 // the event that last said what came out
	written int64 // the event that last had text

	letters  int64 // bytes of text
	texts    int64 // events that had some
	opening  Opening
	phase    Phase
	terminal bool // the last event of its kind passed, or the JSON is complete
	finish   Finish
	choices  [2]uint64 // that began, that finished
	failed   bool
	remote   bool  // it is of JSON-RPC, whose errors are responses
	said     bool  // an event of a known kind passed
	content  bool  // there was some
	faulty   bool  // an error passed, of JSON-RPC too
	odd      bool  // an event, or a part of it, is not what the API has
	trails   bool  // data came after the terminal event
	lastKind kind  // of the event that ended last
	rests    bool  // the last event ended a part, and the stream may end so
	kept     *kept // nil: nothing is
	keeps    bool  // what looks like an error is one
	sequence int64 // of the event that is to come, where the API numbers them
	id       word  // of the response, where a stream's terminal event has it
	last     Event
}

// Event is what was found in a whole event of a stream.
type Event struct {
	Content bool // text, or anything else that is no beginning
	Error   bool
	// Choices: it has some; NoChoices: the list is there, and empty.
	Choices, NoChoices bool
	// Usage is where its usage stands in the data: Usage[0] to Usage[1]; 0, 0: nowhere.
	Usage [2]int
}

// LastEvent is what was found in the event that ended last.
func (s *Scanner) LastEvent() Event { return s.last }

// Opening is how a response begins.
type Opening uint8

// The openings.
const (
	// Silent: nothing was said yet.
	Silent Opening = iota
	// Begun: there was content, or something that is not known.
	Begun
	// Failed: an error came before any content.
	Failed
)

// Phase is what a stream is at, so that its pace in one is not taken for that in the next.
type Phase uint8

// The phases.
const (
	// PhaseText: text or reasoning flows.
	PhaseText Phase = iota
	// PhaseWork: a tool's arguments gather, a search or code runs, or a part of the content
	// is complete: silence says nothing.
	PhaseWork
)

// Finish is a set of reasons why a generation ended.
type Finish uint8

// The reasons.
const (
	FinishStop Finish = 1 << iota
	FinishCalls
	FinishFiltered
	// FinishOther are reasons that are no proper end, as "abort".
	FinishOther
	// HadCalls: the model called tools, ServerTools: the server ran its own.
	HadCalls
	ServerTools
)

// Reset makes ready for the response to a call of api with this header.
func (s *Scanner) Reset(api API, h http.Header) {
	*s = Scanner{words: vocabularies[api], api: api, form: formOf(h), number: 1, event: event{choice: -1}}
	s.json.owner, s.json.root = s, s.words.root
	s.events.Reset(s)
	for i := range s.counts {
		s.counts[i] = -1
	}
}

// Write takes the next bytes. It never fails, and keeps none of them.
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
			s.opening = Begun // further on it may be what lenient readers take
		}
	case jsonLines:
		s.lines(p)
	case unreadable:
	}
	return len(p), nil
}

// WriteEvent takes bytes up to the end of an event, and returns how many it took and
// whether the last of them ended one. Other responses have no events.
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

// lines takes JSON texts, one a line. A line that is none passes.
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

// API is which API's response it is: that of the request, or what its form shows.
func (s *Scanner) API() API { return s.api }

// Readable is false if nothing can be known of the response: it is compressed, of another
// type, or not JSON of the API although it says so.
func (s *Scanner) Readable() bool {
	if s.form == jsonBody {
		return s.json.state != broken && (!s.json.list || s.json.root.element != nil)
	}
	return s.form != unreadable
}

// NotJSON reports whether the response says that it is JSON, and its first byte shows that
// it is none.
func (s *Scanner) NotJSON() bool {
	c := s.json.first
	return s.form == jsonBody && s.json.state == broken && c != '{' && c != '[' && c != '"' && !beginsScalar(c)
}

// Stream reports whether the response is a stream of events, in either framing.
func (s *Scanner) Stream() bool { return s.form == eventStream || s.form == jsonLines }

// Between reports whether an event may be put in here.
func (s *Scanner) Between() bool { return s.form == eventStream && s.events.Between() }

// Delivered estimates the tokens that the model wrote, so far, from its text: one
// for each event that had some (servers send most tokens alone), or one for four
// bytes, whichever is more.
func (s *Scanner) Delivered() int64 { return max(s.texts, (s.letters+3)/4) }

// Events is how many events so far had text: content, reasoning, or the call of a
// tool. A JSON response with text is one.
func (s *Scanner) Events() int64 { return s.texts }

// Opening is how the response began, by its whole events so far.
func (s *Scanner) Opening() Opening { return s.opening }

// Phase is what the stream is at.
func (s *Scanner) Phase() Phase { return s.phase }

// Finish is why the generation ended, and what of it matters to who keeps it.
func (s *Scanner) Finish() Finish { return s.finish }

// Terminal reports whether the last event of the API passed, or the end of the JSON.
func (s *Scanner) Terminal() bool {
	return s.terminal || s.event.ended || s.event.kind >= ending
}

// Finished reports whether something said that the generation finished: the terminal event,
// a reason to stop of each choice that began, or the end of the JSON.
func (s *Scanner) Finished() bool {
	return s.Terminal() || s.choices[1] != 0 && s.choices[0]&^s.choices[1] == 0
}

// Cut reports whether the response, which has ended, lacks its end: it is a stream whose
// API owes one and that had content, or JSON that is not complete.
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
		return !s.said && s.opening == Silent && s.event == event{choice: -1}
	case unreadable:
	}
	return false
}

// Failure is the error that the response says it is; nil if it is none. An error of
// JSON-RPC is a response.
func (s *Scanner) Failure() *Error {
	if !s.failed && !s.event.isError || s.remote {
		return nil
	}
	return s.keep().error()
}
