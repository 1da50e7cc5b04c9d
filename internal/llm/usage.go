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

// count reads a count of tokens.
func (s *Scanner) count(r role, v []byte) {
	if r < promptCount || r > thoughtCount {
		return
	}
	n, ok := count(v)
	if !ok || n == 0 && s.tokens(r) > 0 { // servers send 0 for what they reported before
		return
	}
	s.counts[r-promptCount] = n
	if r == outputCount || r == totalCount {
		s.counted = s.number
	}
}

// tokens returns one count; -1 if it was not reported.
func (s *Scanner) tokens(r role) int64 { return s.counts[r-promptCount] }

// Usage returns the usage that the server reported, if known: both input and output, and
// the output with or after the last text. Else it is the best estimate so far: Output is
// the larger of the reported count and [Scanner.Delivered], and Input is 0 unless reported;
// estimate it from the request, see [ReadRequest].
func (s *Scanner) Usage() (u Usage, known bool) {
	if s.words == nil {
		return Usage{Estimated: true}, false
	}
	input, output := s.input(), s.output(s.input())
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
func (s *Scanner) input() int64 {
	if n := s.tokens(promptCount); n > 0 {
		return n
	}
	n := s.tokens(inputCount)
	if n < 0 {
		return -1
	}
	// Anthropic's input tokens exclude those of the cache.
	n += max(s.tokens(cacheReadCount), 0) + max(s.tokens(cacheWriteCount), 0)
	if n == 0 {
		return -1
	}
	return n
}

// output returns -1 if unknown: not reported, reported before the last text, or reported as
// 0 though there was text.
func (s *Scanner) output(input int64) int64 {
	n := s.tokens(outputCount)
	if n >= 0 {
		n += max(s.tokens(thoughtCount), 0) // Gemini's output does not include them
	}
	if n < 0 && input > 0 && s.tokens(totalCount) >= input {
		n = s.tokens(totalCount) - input // of embeddings: 0
	}
	if n < 0 && input > 0 && s.api == Embeddings {
		n = 0
	}
	if s.written > s.counted || n == 0 && s.letters > 0 {
		return -1
	}
	return n
}
