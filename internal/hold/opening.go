package hold

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/ginfer/ginfer/internal/usage"
)

// mark is the byte order mark.
var mark = []byte("\ufeff") //nolint:gochecknoglobals // a constant

// opening waits for the first event with content. What a model says before that is
// known: the role, the beginning of a message, a ping. An event of another kind is
// content, as is an error that is the request's own fault. It looks at complete
// events only, so that its verdict is the same wherever the reads were cut.
type opening struct {
	scanner usage.Scanner
	line    int    // where the line that is not complete begins
	looked  int    // how far its end was looked for
	data    []byte // of the event that is not complete
	said    bool   // an event of a model came
}

func newOpening(h http.Header) *opening {
	o := new(opening)
	o.scanner.Reset(h)
	return o
}

func (o *opening) saw(all, _ []byte) verdict {
	for {
		n := bytes.IndexAny(all[o.looked:], "\r\n")
		if n < 0 {
			o.looked = len(all)
			return more
		}
		begin, end := o.line, o.looked+n
		o.line, o.looked = end+1, end+1
		_, _ = o.scanner.Write(all[begin : end+1]) // never fails
		if all[end] == '\n' && begin == end && end > 0 && all[end-1] == '\r' {
			continue // the other half of the end of a line
		}
		if v := o.take(bytes.TrimPrefix(all[begin:end], mark)); v != more {
			return v
		}
	}
}

func (o *opening) ended([]byte) error { return fmt.Errorf("%w: it is empty", ErrNoContent) }

// take takes a line.
func (o *opening) take(line []byte) verdict {
	if len(line) == 0 {
		v := o.event()
		o.data = o.data[:0]
		return v
	}
	if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
		if len(o.data) > 0 {
			o.data = append(o.data, '\n')
		}
		o.data = append(o.data, bytes.TrimPrefix(data, []byte(" "))...)
	}
	return more
}

// event judges the event that is complete.
func (o *opening) event() verdict {
	if !o.scanner.Failed() && o.scanner.Events() > 0 {
		return begun
	}
	var m message
	err := json.Unmarshal(o.data, &m)
	switch {
	case o.scanner.Failed() || m.Object == "error":
		if m.isFault() || m.JSONRPC != nil {
			return begun
		}
		return failed
	case len(o.data) == 0: // a comment
	case string(o.data) == "[DONE]":
	case err == nil && m.isModel() && !m.says():
		o.said = true
	default:
		return begun
	}
	if o.said && o.scanner.Ended() { // it has nothing to say
		return begun
	}
	return more
}
