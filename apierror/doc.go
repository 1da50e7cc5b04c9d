// Package apierror is the error type of the gateway's own responses, with handlers that
// render it in the form of the API that the client calls.
//
// [Abort], the default, writes an RFC 9457 problem that also has the "error" member of the
// OpenAI API, so that browsers, tools and both OpenAI SDKs understand it. [OpenAI],
// [Anthropic] and [Problem] write one form only. All four are a func(*gin.Context, error),
// the type of the ErrorHandler field of each Config in this module.
//
//	limits, err := ratelimit.New(ratelimit.Config{ErrorHandler: apierror.Anthropic, ...})
//
// A handler aborts the chain and records the error in c.Errors. What the client receives
// depends on the state of the response:
//
//   - nothing written: status, headers and a body;
//   - a server-sent event stream under way: the error as an event, never followed by
//     [DONE], and the stream ends visibly broken ([Cut]);
//   - any other response under way: it ends visibly broken.
//
// The cause (Err) is for logs and errors.Is; it is never sent to a client. An error of
// unknown type is rendered as a plain 500 without its text.
//
// # Codes
//
// docs/errors.md lists every code of the module with its status, Retry-After and meaning,
// and the types that follow from the status. A test keeps it complete. Programs should go by
// the code, not by the message.
package apierror
