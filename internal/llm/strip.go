package llm

import (
	"bytes"
	"net/http"
)

// StripUsage appends to out the rest of an event of an OpenAI stream for a client that did
// not request usage: without the chunk that has usage and no choice, and without a usage of
// null. Usage beside a choice stays, because servers send it without a request. E is the
// content of the event.
func StripUsage(out, event []byte, e Event) []byte {
	if e.Usage == [2]int{} || e.Error {
		return append(out, event...)
	}
	start, end, ok := soleData(event)
	if !ok || e.Usage[1] > end-start {
		return append(out, event...)
	}
	data := event[start:end]
	from, to := e.Usage[0], e.Usage[1]
	switch {
	case data[from] == '{' && !e.Choices && !e.Content:
		return out
	case string(data[from:to]) != "null":
		return append(out, event...)
	}
	from, to, ok = withName(data, from, to)
	if !ok {
		return append(out, event...)
	}
	out = append(out, event[:start+from]...)
	return append(out, event[start+to:]...)
}

// soleData returns the data of an event with one data line: event[start:end].
func soleData(event []byte) (start, end int, ok bool) {
	field := []byte("data:")
	for line := 0; line < len(event); {
		length := bytes.IndexAny(event[line:], "\r\n")
		if length < 0 {
			return 0, 0, false
		}
		if bytes.HasPrefix(event[line:line+length], field) {
			if ok {
				return 0, 0, false
			}
			start, end, ok = line+len(field), line+length, true
			if start < end && event[start] == ' ' {
				start++
			}
		}
		line += length + 1
	}
	return start, end, ok
}

// withName extends the span of a chunk's usage by its name and a comma.
func withName(data []byte, start, end int) (from, to int, ok bool) {
	name := []byte(`"usage"`)
	from = bytes.LastIndex(data[:start], name)
	if from < 0 || string(bytes.TrimSpace(data[from+len(name):start])) != ":" { // written with escapes
		return 0, 0, false
	}
	if before := bytes.TrimRight(data[:from], " \t"); bytes.HasSuffix(before, []byte(",")) {
		return len(before) - 1, end, true
	}
	for to = end; to < len(data) && (data[to] == ' ' || data[to] == '\t'); to++ {
	}
	if to < len(data) && data[to] == ',' { // it was the first
		to++
	}
	return from, to, true
}

// stripper is [StripUsage] for events that were not scanned.
type stripper struct{ scanner Scanner }

//nolint:gochecknoglobals // a constant
var eventStreamHeader = http.Header{"Content-Type": {"text/event-stream"}}

// strip appends the rest of an event, and reports whether that is less.
func (s *stripper) strip(out, event []byte) ([]byte, bool) {
	if !bytes.Contains(event, []byte(`"usage"`)) {
		return append(out, event...), false
	}
	s.scanner.Reset(Chat, eventStreamHeader)
	_, _ = s.scanner.Write(event) // never fails
	before := len(out)
	out = StripUsage(out, event, s.scanner.LastEvent())
	return out, len(out)-before < len(event)
}
