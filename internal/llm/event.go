package llm

import "bytes"

const done = "[DONE]"

// event is the state of an event, or of a whole JSON text, while it is read.
type event struct {
	lines   int // data lines
	head    [len(done)]byte
	headed  int
	isError bool
	content bool
	ended   bool // it is terminal
	kind    kind
	choices int      // absent, empty, filled
	choice  int      // index of the current choice; -1 if it has none
	nth     int      // number of choices so far
	over    bool     // the choice has a finish reason
	usage   [2]int   // span of the usage in the JSON
	letters [2]int64 // of text that counts only if the API is Responses, or Messages
	stop    bool     // the splitter is to stop at its end
}

const (
	noChoices = iota
	emptyChoices
	someChoices
)

// interpreter interprets the events and values of a response.
type interpreter struct {
	meter

	words *vocabulary
	api   API // by the path, or by its form
	form  form
	json  lexer

	event  event // the current one
	name   word  // of the event
	number int64 // of the event, from 1

	opening    Opening
	phase      Phase
	terminal   bool // the last event of its kind passed, or the JSON is complete
	finish     Finish
	choices    [2]uint64 // begun, finished
	failed     bool
	remote     bool  // it is of JSON-RPC, where errors are responses
	recognized bool  // an event of a known kind passed
	content    bool  // content passed
	faulty     bool  // an error passed, including one of JSON-RPC
	odd        bool  // an event, or a part of it, is not of the API
	trails     bool  // data came after the terminal event
	lastKind   kind  // of the last complete event
	rests      bool  // the last event ended a part, and the stream may end so
	kept       *kept // nil without an error
	keeps      bool  // what looks like an error is one
	sequence   int64 // of the next event, if the API numbers them
	id         word  // of the response, if a stream's terminal event has it
	last       Event
}

// Piece implements [Sink].
func (s *interpreter) Piece(f Field, p []byte) {
	if f == ErrorField {
		s.event.isError = true
		f = Data
	}
	switch {
	case f == Data && p == nil:
		if s.event.lines++; s.event.lines > 1 {
			s.data([]byte("\n"))
		}
	case f == Data:
		s.data(p)
	case f == EventName:
		if p == nil {
			s.name.n = 0
		}
		s.name.add(p)
	}
}

// data reads a piece of the data of an event.
func (s *interpreter) data(p []byte) {
	if s.event.headed < len(done) {
		s.event.headed += copy(s.event.head[s.event.headed:], p)
		if string(s.event.head[:s.event.headed]) == done {
			s.event.ended = true
		}
	}
	s.json.write(p)
	if s.event.isError && s.json.state == broken && s.json.first != '{' {
		s.say(p)
	}
}

// say reads a piece of an error's message.
func (s *interpreter) say(p []byte) {
	if s.failed {
		return
	}
	k := s.keep()
	if k.n == 0 {
		p = bytes.TrimLeft(p, " \r\n")
	}
	k.say(p)
}

// LineEnd implements [Sink].
func (s *interpreter) LineEnd(f Field) {
	if f != EventName {
		return
	}
	if string(s.name.bytes()) == "error" {
		s.event.isError = true
	}
	if s.api == Own {
		k, _ := s.words.typed(Own, s.name.bytes())
		s.event.kind = max(s.event.kind, k)
	}
}

// EventEnd implements [Sink].
func (s *interpreter) EventEnd() (stop bool) {
	stop = s.event.stop
	s.endEvent()
	s.json.reset()
	s.event.stop = stop
	return stop
}

// endEvent evaluates a complete event.
func (s *interpreter) endEvent() {
	e := &s.event
	s.admit()
	s.trails = s.trails || s.terminal && e.lines > 0
	s.odd = s.odd || e.lines > 0 && !e.ended && s.json.state != complete
	s.faulty = s.faulty || e.isError
	s.lastKind = e.kind
	s.terminal = s.Terminal()
	s.failed = s.failed || e.isError && !s.remote
	if s.kept != nil && !s.failed && !s.keeps {
		s.kept.reset()
	}
	s.content = s.content || e.content
	if e.kind == working || e.kind == closing || e.kind == resting {
		s.phase = PhaseWork
	}
	if e.lines > 0 || s.form != eventStream {
		s.rests = e.kind == resting
	}
	s.open()
	s.last = Event{Content: e.content, Error: e.isError, Choices: e.choices == someChoices, NoChoices: e.choices == emptyChoices, Usage: e.usage}
	*e = event{choice: -1}
	s.number++
}

// open sets the opening of the response.
func (s *interpreter) open() {
	e := &s.event
	if s.opening != Silent {
		return
	}
	switch {
	case e.content:
		s.opening = Begun
	case e.isError && !s.remote:
		s.opening = Failed
	case e.ended: // [DONE]
	case e.lines == 0 && s.form == eventStream: // a comment
		return
	case e.kind >= silent, e.choices != noChoices:
		s.recognized = true
	default:
		s.opening = Begun // of an unknown kind
	}
	if s.opening == Silent && s.recognized && s.terminal { // it will have no content
		s.opening = Begun
	}
}

// admit counts the text of an event that is identified as a model's only at its end.
func (s *interpreter) admit() {
	var n int64
	if pending := s.event.pending(s.api); pending != nil {
		n = *pending
	}
	s.event.letters = [2]int64{}
	if n > 0 {
		s.wrote(n)
	}
}

// pending returns the counter of text of an API that the path does not identify.
func (e *event) pending(a API) *int64 {
	if a == Responses {
		return &e.letters[0]
	}
	if a == Messages {
		return &e.letters[1]
	}
	return nil
}

// wrote counts text of the current event.
func (s *interpreter) wrote(n int64) {
	s.event.content = true
	s.meter.wrote(n, s.number)
}

// Terminal reports whether the last event of the API, or the end of the JSON, has passed.
func (s *interpreter) Terminal() bool {
	return s.terminal || s.event.ended || s.event.kind >= ending
}
