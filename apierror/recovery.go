package apierror

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/gin-gonic/gin"
)

// ErrPanic is wrapped by the error that [Recovery] makes of a panic.
var ErrPanic = errors.New("panic in a handler")

// Recovery returns a handler that responds with a 500 when a later handler panics, and cuts
// a response under way. Use it instead of gin.Recovery: it breaks the connection after
// http.ErrAbortHandler, as [Cut] does, and passes that value on, so that a partial response never
// looks complete, even if gin.Recovery comes before it; and it does not print the request's headers,
// with their keys and cookies.
// OnPanic, if not nil, is called with the value and the stack.
func Recovery(onPanic func(c *gin.Context, value any, stack []byte)) gin.HandlerFunc {
	return func(c *gin.Context) {
		defer func() {
			value := recover()
			if value == nil {
				return
			}
			if value == http.ErrAbortHandler { //nolint:errorlint // net/http compares the value itself
				cut(c)
				panic(value)
			}
			if onPanic != nil {
				onPanic(c, value, debug.Stack())
			}
			Abort(c, &Error{Code: "internal_error", Message: "An internal error occurred.", Err: fmt.Errorf("%w: %v", ErrPanic, value)})
		}()
		c.Next()
	}
}
