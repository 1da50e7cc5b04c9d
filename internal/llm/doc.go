// Package llm reads and writes the wire formats of model APIs: requests, responses,
// streams, usage and errors. The other packages use it instead of parsing bytes themselves.
//
//	api := llm.Of(req.Method, req.URL.Path)
//	request := llm.ReadRequest(head, body)    // once, stored with the replayable body
//
//	var s llm.Scanner
//	s.Reset(api, response.Header)
//	io.Copy(client, io.TeeReader(response.Body, &s))
//	usage, known := s.Usage()
//
// A dialect is the vocabulary of one API, a table in a file of its own: which members of
// its JSON are text, what finishes a generation, whether its streams must have a terminal
// event, where usage is. A new one needs a file and a line in [Of]. An API without a
// dialect is [Unknown]: its responses are neither required to have content or an end, nor
// treated as failures. They are read only where their JSON is plainly that of chat
// completions, Responses, Messages or Gemini.
//
// # What counts
//
// A member counts only at its own place: usage in the content of a message, in the
// arguments of a tool or in an error is mere text. Members may come in any order. Of
// duplicates the last wins, as does the latest event, but 0 does not override a count. A
// count is an integer from 0 to 10⁹; anything else is no count, which differs from zero:
// what the server omitted is estimated and marked as such.
//
// # Bounds and failure
//
// A [Scanner] takes about two kilobytes, whatever is written to it: it buffers nothing, so
// no line, event or body is too long. It never fails: of a response that it can't read
// (compressed, of another type, not JSON) it reports nothing, and [Scanner.Readable] is
// false.
package llm
