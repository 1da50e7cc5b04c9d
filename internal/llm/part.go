package llm

import "bytes"

// part reads the type of a part of the output.
func (s *interpreter) part(r role, v []byte) {
	switch string(v) {
	case "text", "output_text", "message", "reasoning", "reasoning_text", "summary_text", "thinking", "redacted_thinking":
		return
	case "tool_use", "function_call", "custom_tool_call":
		s.finish |= HadCalls
	case "refusal":
		s.finish |= FinishFiltered
	default:
		s.finish |= ServerTools
	}
	if r == blockType {
		s.event.content = true
	}
	s.phase = PhaseWork
}

// fault reads a part of an error.
func (s *interpreter) fault(r role, v []byte) {
	if s.failed || s.isNull(v) {
		return
	}
	k := s.keep()
	switch r {
	case errorRoot:
		if !s.json.quoted && !bytes.ContainsAny(v, "123456789") {
			return // null: there is no error
		}
		s.say(v)
	case errorType:
		if n, ok := count(v); ok && n >= 100 && k.code.n == 0 { // a status without a name
			k.code.set(v)
		} else {
			k.kind.set(v)
		}
	case errorCode:
		k.code.set(v)
	case looseType:
		if k.kind.n == 0 {
			k.kind.set(v)
		}
		return
	case looseCode:
		if k.code.n == 0 {
			k.code.set(v)
		}
		return
	}
	s.event.isError = true
}

// isNull reports whether the reported value is null or empty.
func (s *interpreter) isNull(v []byte) bool {
	return len(v) == 0 && v != nil || !s.json.quoted && string(v) == "null"
}

// isNull reports whether a value is null or empty.
func isNull(v []byte) bool { return len(v) == 0 && v != nil || string(v) == "null" }
