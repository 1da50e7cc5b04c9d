package body

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/llm"
)

// Errors of a body, besides those of package llm.
var (
	// ErrBudget is returned when the budget has no room for another body.
	ErrBudget = errors.New("body: the budget of held bodies is spent")
	// ErrConsumed is returned when a handler has read the body without keeping it.
	ErrConsumed = errors.New("body: read by another handler, which did not keep it (gin's ShouldBindBodyWith does)")
	// ErrTooLarge is returned when the body is beyond the limit.
	ErrTooLarge = errors.New("body: larger than what is held")
	// ErrEncoding is returned for an unknown Content-Encoding.
	ErrEncoding = errors.New("body: unknown content encoding")
)

// retryAfter is the Retry-After of a request that the budget had no room for.
const retryAfter = time.Second

// readFault returns the client's error for a body that could not be read.
func readFault(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, ErrBudget):
		return &apierror.Error{Status: http.StatusServiceUnavailable, Code: "overloaded", Message: "The gateway holds as many request bodies as it can. Try again.", RetryAfter: retryAfter, Err: err}
	case errors.Is(err, ErrConsumed):
		return &apierror.Error{Status: http.StatusInternalServerError, Code: "body_consumed", Message: "A handler before this one has read the request body and not kept it.", Err: err}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &apierror.Error{Status: http.StatusRequestTimeout, Code: "request_timeout", Message: "The request body did not arrive in time.", Err: err}
	case errors.As(err, &tooLarge):
		return apierror.From(err)
	default:
		return &apierror.Error{Status: http.StatusBadRequest, Code: "bad_body", Message: "The request body could not be read.", Err: err}
	}
}

// TooLarge returns the error of a body that is larger than a stage accepts.
func TooLarge(limit int64) error {
	return &apierror.Error{Status: http.StatusRequestEntityTooLarge, Code: "request_too_large", Message: fmt.Sprintf("The request body is too large: %d bytes are allowed.", limit), Err: ErrTooLarge}
}

// decodeFault returns the client's error for a body that could not be decoded.
func decodeFault(encoding string, limit int64, err error) error {
	switch {
	case errors.Is(err, ErrBudget):
		return readFault(err)
	case errors.Is(err, ErrTooLarge):
		return &apierror.Error{Status: http.StatusRequestEntityTooLarge, Code: "request_too_large", Message: fmt.Sprintf("The request body is too large once it is decoded: %d bytes are allowed.", limit), Err: err}
	case errors.Is(err, ErrEncoding):
		return &apierror.Error{Status: http.StatusUnsupportedMediaType, Code: "unsupported_encoding", Message: fmt.Sprintf("The Content-Encoding %.40q can't be read here: send gzip, zstd, deflate or none.", encoding), Err: err}
	default:
		return &apierror.Error{Status: http.StatusBadRequest, Code: "bad_body", Message: "The request body is not of its Content-Encoding.", Err: err}
	}
}

// modelFault returns the client's error for a body without a definite model.
func modelFault(err error, form bool) error {
	code, message := "invalid_json", "The request body is not a JSON object."
	switch {
	case errors.Is(err, llm.ErrDuplicate):
		code, message = "duplicate_model", "The request names its model more than once, or in another spelling of \"model\"."
	case errors.Is(err, llm.ErrType):
		code, message = "invalid_model", "The model must be a string."
	case form:
		code, message = "bad_body", "The request body is not the form that its Content-Type says."
	}
	return &apierror.Error{Status: http.StatusBadRequest, Code: code, Message: message, Err: err}
}
