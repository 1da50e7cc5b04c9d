package hold

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/ginfer/ginfer/internal/attempt"
	"github.com/ginfer/ginfer/internal/sse"
)

// BufferSize bounds, in bytes, what is kept of an answer. One that is silent about
// its content for so long passes as it is.
const BufferSize = 32 << 10

// ErrNoContent: an answer ended, or said that it failed, before it had content.
var ErrNoContent = errors.New("the answer failed before it began")

var buffers = sync.Pool{New: func() any { return new([BufferSize]byte) }} //nolint:gochecknoglobals // a pool

// Answer returns res when it has begun well. Otherwise it closes it, tells the try of
// the request, and returns why. An answer that was held before, or is of another kind,
// or of a request whose try does not ask for it, comes back as it is.
func Answer(req *http.Request, res *http.Response) (*http.Response, error) {
	try := attempt.From(req.Context())
	limit, wanted := try.Hold()
	if !wanted || res.StatusCode != http.StatusOK || req.Method == http.MethodHead || res.ContentLength == 0 || res.Header.Get("Content-Encoding") != "" {
		return res, nil
	}
	b := &body{ReadCloser: res.Body, try: try}
	contentType := res.Header.Get("Content-Type")
	switch {
	case sse.Is(contentType):
		b.judge = newOpening(res.Header)
	case isJSON(contentType):
		b.judge = newWhole(try, res.Header)
		limit = 0 // there is nothing to send meanwhile
	default:
		return res, nil
	}
	if !try.HoldOnce() { // its body may be within another one
		return res, nil
	}
	res.Body = b
	if err := b.open(limit); err != nil {
		if !attempt.Abandoned(req.Context()) {
			try.Fail(err)
		}
		_ = b.Close()
		return nil, err
	}
	return res, nil
}

func isJSON(contentType string) bool {
	mediaType, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	return strings.TrimSpace(mediaType) == "application/json"
}

// judge decides when enough was read.
type judge interface {
	// saw takes what was read; all is everything so far.
	saw(all, p []byte) verdict
	// ended says what an answer is that ended.
	ended(all []byte) error
}

type verdict int

const (
	more verdict = iota
	begun
	failed
)

// fill reads until the answer has begun. What it read, and the error of the last read,
// stay to be read.
func (b *body) fill() error {
	for b.end < BufferSize {
		n, err := b.ReadCloser.Read(b.buf[b.end:])
		b.end += n
		b.err = err
		v := more
		if n > 0 {
			v = b.judge.saw(b.buf[:b.end], b.buf[b.end-n:b.end])
		}
		switch {
		case v == begun:
			return nil
		case v == failed:
			return fmt.Errorf("%w: it says so", ErrNoContent)
		case err == io.EOF: // one that is wrapped is no clean end
			return b.judge.ended(b.buf[:b.end])
		case err != nil:
			return err
		}
	}
	return nil
}
