// Package usage reads what a request and its answer say of tokens, while they
// pass.
//
// A [Scanner] is written the bytes of an answer, cut anywhere, and knows what
// the server counted, how much text went by, and whether the answer ended well:
//
//	var s usage.Scanner
//	s.Reset(response.Header)
//	io.Copy(client, io.TeeReader(response.Body, &s))
//	tokens, known := s.Usage()
//
// It reads OpenAI completions, of chats too, embeddings and responses, and
// Anthropic messages, as JSON and as server-sent events. [ReadRequest] reads the
// other side: the limits a request sets, how much input it has, and what a model
// must be able to do for it.
//
// # What is believed
//
// A member counts only at its own place: usage in the content of a message, in
// the arguments of a tool or in an error is text like any other. Members may
// come in any order. Of two with the same name the last wins, and so does the
// latest event, but 0 takes nothing back. A count is a whole number from 0 to
// 10⁹; anything else is none, and none is never zero: what the server left out
// is estimated and marked as such.
//
// # Bounds and failure
//
// A Scanner has about a kilobyte, whatever it is written: nothing is buffered,
// so no line, event or body is too long. It never fails: of an answer that it
// cannot read (compressed, of another type, not JSON) it knows nothing, and says
// so by [Scanner.Readable].
package usage
