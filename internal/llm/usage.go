package llm

// Usage is the number of tokens of an attempt.
type Usage struct {
	// Input tokens, including those read from and written to the server's prompt cache.
	Input int64
	// Output tokens, including those of reasoning.
	Output int64
	// Cached is the part of Input that was read from the cache.
	Cached int64
	// CacheWritten is the part of Input that was written to it.
	CacheWritten int64
	// Reasoning is the part of Output that is not content.
	Reasoning int64
	// Estimated means that the server did not report all of it.
	Estimated bool
}

// meter counts the tokens of a response: those that the server reports, and its text.
type meter struct {
	counts  [thoughtCount - promptCount + 1]int64
	counted int64 // the last event with an output count
	written int64 // the last event with text
	letters int64 // bytes of text
	texts   int64 // events with text
}

func newMeter() (m meter) {
	for i := range m.counts {
		m.counts[i] = -1
	}
	return m
}

// wrote counts n bytes of text in an event.
func (m *meter) wrote(n, event int64) {
	m.letters += n
	if m.written != event {
		m.written = event
		m.texts++
	}
}

// count reads a count of tokens.
func (m *meter) count(r role, v []byte, event int64) {
	if r < promptCount || r > thoughtCount {
		return
	}
	n, ok := count(v)
	if !ok || n == 0 && m.tokens(r) > 0 { // servers send 0 for what they reported before
		return
	}
	m.counts[r-promptCount] = n
	if r == outputCount || r == totalCount {
		m.counted = event
	}
}

// tokens returns one count; -1 if it was not reported.
func (m *meter) tokens(r role) int64 { return m.counts[r-promptCount] }

// Delivered estimates the tokens written so far: one for each event with text (servers send
// most tokens alone), or one for four bytes of text, whichever is more.
func (m *meter) Delivered() int64 { return max(m.texts, (m.letters+3)/4) }

// Events returns the number of events with text so far: content, reasoning, or a tool call.
// A JSON response with text counts as one.
func (m *meter) Events() int64 { return m.texts }

// Usage returns the usage that the server reported, if known: both input and output, and
// the output with or after the last text. Else it is the best estimate so far: Output is
// the larger of the reported count and [Scanner.Delivered], and Input is 0 unless reported;
// estimate it from the request, see [ReadRequest].
func (s *Scanner) Usage() (u Usage, known bool) {
	if s.words == nil {
		return Usage{Estimated: true}, false
	}
	input, output := s.input(), s.output(s.input(), s.api)
	u = Usage{Input: max(input, 0), Output: output}
	known = input > 0 && output >= 0
	if output < 0 {
		u.Output = max(s.Delivered(), s.tokens(outputCount))
	}
	u.Cached = min(max(s.tokens(cachedCount), s.tokens(cacheReadCount), 0), u.Input)
	u.CacheWritten = min(max(s.tokens(cacheWriteCount), 0), u.Input-u.Cached)
	u.Reasoning = min(max(s.tokens(reasoningCount), s.tokens(thoughtCount), 0), u.Output)
	u.Estimated = !known
	return u, known
}

// input returns -1 if unknown. No prompt has 0 tokens: a server that reports it did not
// count.
func (m *meter) input() int64 {
	if n := m.tokens(promptCount); n > 0 {
		return n
	}
	n := m.tokens(inputCount)
	if n < 0 {
		return -1
	}
	// Anthropic's input tokens exclude those of the cache.
	n += max(m.tokens(cacheReadCount), 0) + max(m.tokens(cacheWriteCount), 0)
	if n == 0 {
		return -1
	}
	return n
}

// beside returns the tokens of reasoning that a chat's output does not include, as of xAI: what the
// total has beyond input and output.
func (m *meter) beside(api API) int64 {
	reported := m.tokens(reasoningCount)
	if api == Chat && reported > 0 && m.tokens(totalCount) == m.tokens(promptCount)+m.tokens(outputCount)+reported {
		return reported
	}
	return 0
}

// output returns -1 if unknown: not reported, reported before the last text, or reported as
// 0 though there was text.
func (m *meter) output(input int64, api API) int64 {
	n := m.tokens(outputCount)
	if n >= 0 {
		n += max(m.tokens(thoughtCount), 0) // Gemini's output does not include them
		n += m.beside(api)
	}
	if n < 0 && input > 0 && m.tokens(totalCount) >= input {
		n = m.tokens(totalCount) - input // of embeddings: 0
	}
	if n < 0 && input > 0 && api == Embeddings {
		n = 0
	}
	if m.written > m.counted || n == 0 && m.letters > 0 {
		return -1
	}
	return n
}
