package hold_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/attempt"
	"github.com/ginfer/ginfer/internal/hold"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	events   = "text/event-stream"
	jsonType = "application/json"
)

// source is a body that comes in pieces and ends with an error.
type source struct {
	pieces []string
	end    error
	closed int
}

func (s *source) Read(p []byte) (int, error) {
	for len(s.pieces) > 0 && s.pieces[0] == "" {
		s.pieces = s.pieces[1:]
	}
	switch {
	case s.closed > 0:
		return 0, http.ErrBodyReadAfterClose
	case len(s.pieces) == 0:
		return 0, s.end
	}
	n := copy(p, s.pieces[0])
	s.pieces[0] = s.pieces[0][n:]
	return n, nil
}

func (s *source) Close() error {
	s.closed++
	return nil
}

// asking is a request whose try wants answers held back.
func asking(ctx context.Context, x *attempt.Exchange) (*http.Request, *attempt.Try) {
	x.Held = true
	try := x.Try(1)
	req, err := http.NewRequestWithContext(attempt.With(ctx, try), http.MethodPost, "http://host/", http.NoBody)
	if err != nil {
		panic(err)
	}
	return req, try
}

func saying(contentType string, body io.ReadCloser) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {contentType}}, ContentLength: -1, Body: body}
}

// held holds an answer back and returns its body.
func held(req *http.Request, contentType string, body io.ReadCloser) (io.ReadCloser, error) {
	res, err := hold.Answer(req, saying(contentType, body)) //nolint:bodyclose // its body is what is returned
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// passes holds an answer back and reports whether it passed. What passes must come
// out as it went in, and end as it ended.
func passes(tb testing.TB, contentType string, end error, pieces ...string) bool {
	tb.Helper()
	want := strings.Join(pieces, "")
	s := &source{pieces: slices.Clone(pieces), end: end}
	req, try := asking(tb.Context(), new(attempt.Exchange))
	body, err := held(req, contentType, s)
	if err != nil {
		require.ErrorIs(tb, try.Err(), err, "the layers below are told")
		require.Equal(tb, 1, s.closed)
		return false
	}
	got, err := io.ReadAll(body)
	if end == io.EOF { //nolint:errorlint // the clean end
		require.NoError(tb, err)
	} else {
		require.ErrorIs(tb, err, end)
	}
	require.Equal(tb, want, string(got))
	require.NoError(tb, try.Err())
	require.NoError(tb, body.Close())
	require.Equal(tb, 1, s.closed)
	_, err = body.Read(make([]byte, 1))
	require.ErrorIs(tb, err, http.ErrBodyReadAfterClose)
	return true
}

// cuts calls f with the text whole, cut in two at every place, and in single bytes.
func cuts(text string, f func(pieces ...string)) {
	f(text)
	for i := 1; i < len(text); i++ {
		f(text[:i], text[i:])
	}
	var single []string
	for i := range len(text) {
		single = append(single, text[i:i+1])
	}
	f(single...)
}
