package apierror_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/ginfer/ginfer/apierror"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFrom(t *testing.T) {
	t.Parallel()
	own := &apierror.Error{Status: http.StatusTeapot, Code: "teapot"}
	tooLarge := &http.MaxBytesError{Limit: 5}
	unknown := errors.New("x")
	tests := []struct {
		name string
		err  error
		want apierror.Error // without Err
	}{
		{"its own", own, *own},
		{"its own, wrapped", fmt.Errorf("a: %w", fmt.Errorf("b: %w", own)), *own},
		{"its own, joined", errors.Join(unknown, own), *own},
		{"the first of two", errors.Join(own, &apierror.Error{Status: 400}), *own},
		{"the outer of two", &apierror.Error{Status: 400, Err: &apierror.Error{Status: 404}}, apierror.Error{Status: 400}},
		{"its own before a mapped one", errors.Join(context.Canceled, tooLarge, own), *own},
		{"a body over its limit", fmt.Errorf("read: %w", tooLarge), apierror.Error{Status: 413, Code: "request_too_large", Message: "The request body is too large."}},
		{"an exceeded deadline", fmt.Errorf("dial: %w", context.DeadlineExceeded), apierror.Error{Status: 504, Code: "timeout", Message: "The request took too long."}},
		{"a deadline and a cancellation", errors.Join(context.Canceled, context.DeadlineExceeded), apierror.Error{Status: 504, Code: "timeout", Message: "The request took too long."}},
		{"a client disconnect", fmt.Errorf("read: %w", context.Canceled), apierror.Error{Status: 499, Code: "client_closed_request", Message: "The client closed the request."}},
		{"any other", unknown, apierror.Error{Status: 500, Code: "internal_error", Message: "An internal error occurred."}},
		{"none", nil, apierror.Error{Status: 500, Code: "internal_error", Message: "An internal error occurred."}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := apierror.From(tt.err)
			require.NotNil(t, got)
			if errors.Is(tt.err, own) {
				assert.Same(t, own, got)
			} else if tt.err != nil {
				require.ErrorIs(t, got, tt.err, "the cause stays in the chain")
			}
			same := *got
			same.Err = nil
			assert.Equal(t, tt.want, same)
		})
	}
}

// A nil *Error in a chain is a bug of the caller; the response is a 500, without a panic.
func TestTypedNil(t *testing.T) {
	t.Parallel()
	var none *apierror.Error
	for _, err := range []error{none, fmt.Errorf("a: %w", none), errors.Join(errors.New("x"), none)} {
		got := apierror.From(err)
		require.NotNil(t, got)
		require.ErrorIs(t, got, apierror.ErrUnknown)
		assert.Equal(t, http.StatusInternalServerError, got.Status)
	}
	for name, abort := range handlers() {
		c, w := begin()
		abort(c, none)
		assert.Equal(t, http.StatusInternalServerError, w.Code, name)
		require.Len(t, c.Errors, 1, name)
		require.ErrorIs(t, c.Errors[0], apierror.ErrUnknown, "%s: the recorded error can be printed", name)
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	cause := errors.New("connection refused")
	tests := []struct {
		err  apierror.Error
		want string
	}{
		{apierror.Error{}, "internal server error"},
		{apierror.Error{Status: 404}, "not found"},
		{apierror.Error{Status: apierror.StatusClientClosed}, "client closed request"},
		{apierror.Error{Status: apierror.StatusOverloaded}, "overloaded"},
		{apierror.Error{Status: 599}, "error"},
		{apierror.Error{Status: 404, Message: "No such model."}, "no such model"},
		{apierror.Error{Status: 502, Err: cause}, "bad gateway: connection refused"},
		{apierror.Error{Message: "No.", Err: cause}, "no: connection refused"},
		{apierror.Error{Message: "HTTP/1.1 is needed."}, "HTTP/1.1 is needed"},
		{apierror.Error{Message: "Ã."}, "ã"},
	}
	for _, tt := range tests {
		assert.EqualError(t, &tt.err, tt.want)
	}
}

func TestUnwrap(t *testing.T) {
	t.Parallel()
	cause := &http.MaxBytesError{Limit: 5}
	var err error = &apierror.Error{Status: 400, Err: fmt.Errorf("read: %w", cause)}
	err = fmt.Errorf("routing: %w", err)
	require.ErrorIs(t, err, cause)
	var e *apierror.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, 400, e.Status)
	var tooLarge *http.MaxBytesError
	require.ErrorAs(t, err, &tooLarge)
	assert.NoError(t, (&apierror.Error{}).Unwrap())
}
