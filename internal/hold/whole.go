package hold

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/ginfer/ginfer/internal/attempt"
	"github.com/ginfer/ginfer/internal/usage"
)

// whole waits for the end of JSON.
type whole struct {
	try     *attempt.Try
	scanner usage.Scanner
}

func newWhole(try *attempt.Try, h http.Header) *whole {
	w := &whole{try: try}
	w.scanner.Reset(h)
	return w
}

func (w *whole) saw(_, p []byte) verdict {
	w.try.Alive()
	_, _ = w.scanner.Write(p) // never fails
	return more
}

// ended finds an answer that was cut where nothing else shows it, one that is no JSON
// at all, and one that is the error of a model's server, but not the request's own.
func (w *whole) ended(all []byte) error {
	if w.scanner.Ended() && (w.scanner.Events() > 0 || !bytes.Contains(all, []byte(`"error"`))) {
		return nil // the usual cases, without another look
	}
	all = bytes.TrimSpace(bytes.TrimPrefix(all, mark))
	var m message
	err := json.NewDecoder(bytes.NewReader(all)).Decode(&m)
	fault, isSyntax := errors.AsType[*json.SyntaxError](err)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it was cut", ErrNoContent)
	case isSyntax && fault.Offset <= 1: // further on it may be what lenient readers take
		return fmt.Errorf("%w: it is no JSON", ErrNoContent)
	case m.isError() && !m.isFault() && m.JSONRPC == nil:
		return fmt.Errorf("%w: it says so", ErrNoContent)
	}
	return nil
}
