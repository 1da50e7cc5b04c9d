package llm

import "strings"

// text implements owner.
func (s *interpreter) text(n *node, p []byte) {
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
func (s *interpreter) closed(n *node, empty bool, start, end int) {
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
func (s *interpreter) chose() {
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
func (s *interpreter) value(n *node, v []byte, start, end int) {
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
			s.count(n.role, v, s.number)
		}
	}
}

// placed stores the number of an event, or the ID of the response.
func (s *interpreter) placed(r role, v []byte) {
	if r == responseID {
		s.id.set(v)
		return
	}
	if n, ok := count(v); ok && !s.json.quoted {
		s.sequence = n + 1
	}
}

// restated ends text that repeats the whole response.
func (s *interpreter) restated() {
	if s.form == jsonBody {
		s.event.kind = max(s.event.kind, knownType)
		return
	}
	s.event.kind, s.event.content = ending, true
}

// typed reads the type of an event, or of a response.
func (s *interpreter) typed(name []byte) {
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

func (s *interpreter) object(name string) {
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
func (s *interpreter) status(name string) {
	switch name {
	case "completed":
		s.finish |= FinishStop
	case "incomplete", "cancelled":
		s.finish |= FinishOther
	}
}

// stopped reads the finish reason of a choice or of the whole response. Only known reasons
// are proper ends: servers also send "abort".
func (s *interpreter) stopped(r role, v []byte) {
	if s.isNull(v) || string(v) == "FINISH_REASON_UNSPECIFIED" {
		return
	}
	switch strings.ToLower(string(v)) {
	case "stop", "length", "eos", "eos_token", "stop_sequence", "end_turn", "max_tokens", "complete":
		s.finish |= FinishStop
	case "tool_calls", "function_call", "tool_use", "tool_call":
		s.finish |= FinishCalls | HadCalls
	case "content_filter", "refusal", "safety", "recitation", "blocklist", "prohibited_content", "spii", "image_safety",
		"content_filtered", "guardrail_intervened": // the last two of Bedrock
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
