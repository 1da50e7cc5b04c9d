package llm

import (
	"bytes"
	"strings"
)

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

// Piece implements [Sink].
func (s *Scanner) Piece(f Field, p []byte) {
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
func (s *Scanner) data(p []byte) {
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
func (s *Scanner) say(p []byte) {
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
func (s *Scanner) LineEnd(f Field) {
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
func (s *Scanner) EventEnd() (stop bool) {
	stop = s.event.stop
	s.endEvent()
	s.json.reset()
	s.event.stop = stop
	return stop
}

// endEvent evaluates a complete event.
func (s *Scanner) endEvent() {
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
func (s *Scanner) open() {
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
func (s *Scanner) admit() {
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

// wrote counts text.
func (s *Scanner) wrote(n int64) {
	s.letters += n
	s.event.content = true
	if s.written != s.number {
		s.written = s.number
		s.texts++
	}
}

// text implements owner.
func (s *Scanner) text(n *node, p []byte) {
	switch n.role {
	case inText, inReasoning:
		s.phase = PhaseText
	case refusal:
		s.phase = PhaseText
		s.finish |= FinishFiltered
	case inCall:
		s.phase = PhaseWork
		s.finish |= HadCalls
	case inWhole:
		if s.form != jsonBody {
			return
		}
	case inMedia:
		s.event.content = true
		return
	case inMessage, inFault, inLoose:
		s.event.isError = s.event.isError || n.role != inLoose
		if n.role != inFault {
			s.say(p)
		}
		return
	default:
		return
	}
	if s.api == Unknown {
		if pending := s.event.pending(n.api); pending != nil {
			*pending += int64(len(p))
			return
		}
		s.api = n.api
	}
	s.wrote(int64(len(p)))
}

// closed implements owner.
func (s *Scanner) closed(n *node, empty bool, start, end int) {
	switch n.role {
	case anyContent:
		s.event.content = s.event.content || !empty
	case calls:
		if !empty {
			s.event.content = true
			s.finish |= HadCalls
			s.phase = PhaseWork
		}
	case choices:
		s.event.choices = someChoices
		if empty {
			s.event.choices = emptyChoices
		}
	case choice:
		s.chose()
	case usageRoot:
		s.event.usage = [2]int{start, end}
	}
	switch {
	case s.form != jsonBody:
	case n == s.words.root:
		s.terminal = true
		s.endEvent()
	case n == s.words.root.element && s.json.depth == 1:
		s.endEvent() // of a stream that is an array
	}
}

// chose ends a choice.
func (s *Scanner) chose() {
	if s.event.choice < 0 { // it has no index
		s.event.choice = s.event.nth
	}
	s.event.nth++
	if s.event.choice < 64 {
		bit := uint64(1) << s.event.choice
		s.choices[0] |= bit
		if s.event.over {
			s.choices[1] |= bit
		}
	}
	s.event.choice, s.event.over = -1, false
}

// value implements owner.
func (s *Scanner) value(n *node, v []byte, start, end int) {
	switch n.role {
	case anyContent:
		s.event.content = s.event.content || !s.isNull(v)
	case eventType:
		s.typed(v)
	case objectType:
		s.object(string(v))
	case finish, finishAll:
		s.stopped(n.role, v)
	case finished:
		s.event.kind = max(s.event.kind, silent)
		if !s.json.quoted && string(v) == "true" {
			s.event.kind, s.event.content = ending, true
		}
	case choices, choice:
		s.odd = s.odd || !s.isNull(v) // a string in place of a list
	case rpc:
		s.remote = true
	case choiceIndex:
		i, _ := count(v)
		s.event.choice = int(i)
	case status:
		s.status(string(v))
	case usageRoot:
		s.event.usage = [2]int{start, end}
	case errorRoot, errorType, errorCode, looseType, looseCode:
		s.fault(n.role, v)
	case itemType, blockType:
		s.part(n.role, v)
	case inWhole:
		s.restated()
	case sequence, responseID:
		s.placed(n.role, v)
	case incomplete:
		if string(v) == "content_filter" {
			s.finish |= FinishFiltered
		}
	default:
		if !s.json.quoted {
			s.count(n.role, v)
		}
	}
}

// placed stores the number of an event, or the ID of the response.
func (s *Scanner) placed(r role, v []byte) {
	if r == responseID {
		s.id.set(v)
		return
	}
	if n, ok := count(v); ok && !s.json.quoted {
		s.sequence = n + 1
	}
}

// restated ends text that repeats the whole response.
func (s *Scanner) restated() {
	if s.form == jsonBody {
		s.event.kind = max(s.event.kind, knownType)
		return
	}
	s.event.kind, s.event.content = ending, true
}

// typed reads the type of an event, or of a response.
func (s *Scanner) typed(name []byte) {
	switch string(name) {
	case "error":
		s.event.isError = true
		return
	case "response.failed": // also if another API was called
		s.event.isError, s.event.kind = true, failing
		return
	}
	k, api := s.words.typed(s.api, name)
	if k == unknownType {
		s.fault(looseType, name)
		return
	}
	s.event.kind = max(s.event.kind, k)
	if s.api == Unknown && string(name) != "ping" && string(name) != "keepalive" {
		s.api = api
	}
	switch k {
	case working:
		s.event.content, s.phase = true, PhaseWork
	case closing, resting:
		s.phase = PhaseWork
	case failing:
		s.event.isError = true
	}
}

func (s *Scanner) object(name string) {
	switch name {
	case "error":
		s.event.isError = true
	case "response":
		if s.api == Unknown {
			s.api = Responses
		}
	}
}

// status reads the status of a response of the Responses API.
func (s *Scanner) status(name string) {
	switch name {
	case "completed":
		s.finish |= FinishStop
	case "incomplete", "cancelled":
		s.finish |= FinishOther
	}
}

// stopped reads the finish reason of a choice or of the whole response. Only known reasons
// are proper ends: servers also send "abort".
func (s *Scanner) stopped(r role, v []byte) {
	if s.isNull(v) || string(v) == "FINISH_REASON_UNSPECIFIED" {
		return
	}
	switch strings.ToLower(string(v)) {
	case "stop", "length", "eos", "eos_token", "stop_sequence", "end_turn", "max_tokens", "complete":
		s.finish |= FinishStop
	case "tool_calls", "function_call", "tool_use", "tool_call":
		s.finish |= FinishCalls | HadCalls
	case "content_filter", "refusal", "safety", "recitation", "blocklist", "prohibited_content", "spii", "image_safety":
		s.finish |= FinishFiltered
	case "error": // of Cohere and of relays, in a chunk with an error
		s.finish |= FinishOther
		s.event.isError = true
		s.keep().server()
		return
	default:
		s.finish |= FinishOther
	}
	s.event.content = true
	if r == finish {
		s.event.over = true
	} else {
		s.choices = [2]uint64{1, 1}
	}
}
