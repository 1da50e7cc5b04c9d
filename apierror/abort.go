package apierror

import (
	"errors"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/ginfer/ginfer/internal/reach"
)

// ErrUnknown is recorded when a handler is called with a nil error or a nil *Error.
var ErrUnknown = errors.New("apierror: no error given")

// Abort responds with an RFC 9457 problem that has an OpenAI "error" member, or with the
// error of the API that the request calls where that has another form: Anthropic's
// messages, Gemini, Ollama. In a committed event stream it sends what [EventFor] returns;
// in one of Ollama's, a line. It is the default ErrorHandler of every package.
func Abort(c *gin.Context, err error) {
	if c.Writer.Written() {
		api := streamAPI(c.Request, c.Writer.Header().Get("Content-Type"))
		s := shapeOf(api)
		s.event = func(e *Error) []byte { return llm.ErrorEvent(api, e.in(llm.PlaceOf(c.Request.Context()))) }
		abort(c, err, s)
		return
	}
	abort(c, err, shapeOf(apiOf(c.Request)))
}

// OpenAI responds as the OpenAI API does: {"error":{message,type,param,code}}.
func OpenAI(c *gin.Context, err error) { abort(c, err, openAIShape()) }

// Anthropic responds as the Anthropic API does: {"type":"error","error":{type,message}}; in
// a stream, as "event: error".
func Anthropic(c *gin.Context, err error) { abort(c, err, shapeOf(llm.Messages)) }

// Problem responds with an RFC 9457 problem without an "error" member.
func Problem(c *gin.Context, err error) { abort(c, err, problemShape()) }

func abort(c *gin.Context, err error, s shape) {
	err = record(c, err)
	e := From(err)
	if !c.Writer.Written() {
		render(c, e, s)
		return
	}
	if takesEvent(c, s) {
		// A failed write means that the client has disconnected.
		_, _ = c.Writer.Write(s.event(e))
	}
	cut(c)
}

// takesEvent reports whether the committed response is a stream that can end with an error
// event.
func takesEvent(c *gin.Context, s shape) bool {
	contentType := c.Writer.Header().Get("Content-Type")
	return llm.IsEventStream(contentType) || s.lines && llm.IsJSONLines(contentType)
}

// Cut ends a committed response so that the client sees it broken: over HTTP/1.1 without
// the last chunk or the promised bytes, over HTTP/2 with RST_STREAM. It adds no bytes. Use
// it instead of [Abort] where an error event would be wrong, as inside an unfinished event.
// A nil err records nothing.
//
// It sets a write deadline in the past. Panicking with http.ErrAbortHandler is not enough:
// gin.Recovery swallows it, and the response would look complete. An HTTP/1.0 response without
// a length has no end but the connection's: its connection is reset. Where another middleware's
// writer hides the connection, Cut does not return: it ends the goroutine as runtime.Goexit does,
// which net/http treats as a panic and no recovery handler can stop. Deferred functions run, with
// nothing to recover. Below http.TimeoutHandler, which sends the response later, it announces
// more bytes than there are. Without a server it does nothing more, for tests.
func Cut(c *gin.Context, err error) {
	if err != nil {
		_ = record(c, err)
	}
	cut(c)
}

func record(c *gin.Context, err error) error {
	err = known(err)
	_ = c.Error(err)
	c.Abort()
	return err
}

func render(c *gin.Context, e *Error, s shape) {
	h := c.Writer.Header()
	dropEntity(h)
	setRetry(h, e.RetryAfter)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Type", s.contentType)
	c.Writer.WriteHeader(e.status())
	_, _ = c.Writer.Write(s.body(e))
}

func cut(c *gin.Context) { reach.Of(c.Request.Context(), c.Writer).Cut(c.Request) }
