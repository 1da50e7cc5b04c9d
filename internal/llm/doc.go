// Package llm reads and writes the wire formats of model APIs: requests, responses,
// streams, usage and errors. Every other package asks it instead of looking into bytes.
//
//	api := llm.Of(req.Method, req.URL.Path)
//	request := llm.ReadRequest(head, body)    // once, kept with the held body
//
//	var s llm.Scanner
//	s.Reset(api, response.Header)
//	io.Copy(client, io.TeeReader(response.Body, &s))
//	usage, known := s.Usage()
//
// A dialect is one API's vocabulary, a table in a file of its own: which members of its
// JSON are text, what finishes a generation, whether its streams owe a terminal event,
// where usage stands. Adding one is a file and a line in [Of]. An API without a dialect is
// [Unknown]: it owes nothing and costs nothing, and its bytes are nobody's failure. Only
// where its JSON is plainly that of chat completions, Responses, Messages or Gemini is it
// read as such.
//
// # What is believed
//
// A member counts only at its own place: usage in the content of a message, in the
// arguments of a tool or in an error is text like any other. Members may come in any
// order. Of two with the same name the last wins, and so does the latest event, but 0 takes
// nothing back. A count is a whole number from 0 to 10⁹; anything else is none, and none is
// never zero: what the server left out is estimated and marked as such.
//
// # Bounds and failure
//
// A [Scanner] has about two kilobytes, whatever it is written: nothing is buffered, so no
// line, event or body is too long. It never fails: of a response that it cannot read
// (compressed, of another type, not JSON) it knows nothing, and says so by
// [Scanner.Readable].
package llm
