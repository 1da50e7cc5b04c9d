// Package apierror is how every part of a gateway says no: one error type, and
// handlers that answer a request with it in the shape its client reads.
//
// [Abort], the default, writes an RFC 9457 problem that also has the "error"
// member of the OpenAI API, so that browsers, tools and both OpenAI SDKs read
// it. [OpenAI], [Anthropic] and [Problem] write one shape only. All four are
// a func(*gin.Context, error), which is what the ErrorHandler field of each
// Config in this module takes.
//
//	limits, err := ratelimit.New(ratelimit.Config{ErrorHandler: apierror.Anthropic, ...})
//
// A handler aborts the chain and records the error on c.Errors. What the client
// sees depends on how far the answer has gone:
//
//   - nothing written: status, headers and a body;
//   - a server-sent event stream under way: the error as an event, never
//     followed by [DONE], and the stream ends visibly broken ([Cut]);
//   - any other answer under way: it ends visibly broken.
//
// The cause (Err) is for logs and errors.Is; it is never sent to a client. An
// error of unknown type is rendered as a bare 500 without its text.
package apierror
