package apierror

import (
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/llm"
)

// ErrUnknown stands in when a handler is called with a nil error or *Error.
var ErrUnknown = errors.New("apierror: no error given")

// cutGrace bounds the last flush before a cut: what was relayed should reach
// the client, but a client that does not read must not hold the handler.
const cutGrace = time.Second

// Abort responds with an RFC 9457 problem that has an OpenAI "error" member, or with the
// error of the API that the request calls where that has another form: Anthropic's
// messages, Gemini, Ollama. In a committed event stream it sends what [EventFor] returns,
// in Ollama's a line. It is the default ErrorHandler of every package.
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

// OpenAI answers as the OpenAI API does: {"error":{message,type,param,code}}.
func OpenAI(c *gin.Context, err error) { abort(c, err, openAIShape()) }

// Anthropic answers as the Anthropic API does:
// {"type":"error","error":{type,message}}, in a stream as "event: error".
func Anthropic(c *gin.Context, err error) { abort(c, err, shapeOf(llm.Messages)) }

// Problem answers with an RFC 9457 problem and nothing else.
func Problem(c *gin.Context, err error) { abort(c, err, problemShape()) }

func abort(c *gin.Context, err error, s shape) {
	err = record(c, err)
	e := From(err)
	if !c.Writer.Written() {
		render(c, e, s)
		return
	}
	if takesEvent(c, s) {
		// A failed write means that the client is gone: there is nobody to tell.
		_, _ = c.Writer.Write(s.event(e))
	}
	cut(c)
}

// takesEvent reports whether the committed response is a stream that an error event can
// end.
func takesEvent(c *gin.Context, s shape) bool {
	contentType := c.Writer.Header().Get("Content-Type")
	return llm.IsEventStream(contentType) || s.lines && llm.IsJSONLines(contentType)
}

// Cut ends a committed answer so that the client sees it broken: HTTP/1.1
// without the last chunk or the promised bytes, HTTP/2 with RST_STREAM. No
// bytes are added. Use it where an error event would be wrong, as inside an
// unfinished event; otherwise use [Abort]. A nil err records nothing.
//
// It works by a write deadline in the past (not by panicking with
// http.ErrAbortHandler, which gin.Recovery swallows, making the answer look
// complete). Only when the writer offers no deadlines does it panic with that
// value, and only below a net/http server.
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

func cut(c *gin.Context) {
	rc := http.NewResponseController(c.Writer)
	if rc.SetWriteDeadline(time.Now().Add(cutGrace)) == nil {
		_ = rc.Flush()
		_ = rc.SetWriteDeadline(time.Unix(1, 0))
		return
	}
	if c.Request.Context().Value(http.ServerContextKey) != nil {
		panic(http.ErrAbortHandler)
	}
}
