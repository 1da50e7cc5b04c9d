package exchange

import (
	"net/http"

	"github.com/ginfer/ginfer/internal/llm"
)

// Status is that of the response; 0: there is none yet.
func (a *Attempt) Status() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

// Header is that of the response; nil: there is none yet. It must not be changed.
func (a *Attempt) Header() http.Header {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.header
}

// IsStream reports whether the response is a stream whose events are read.
func (a *Attempt) IsStream() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.body != nil && a.body.stream
}

// Delivered estimates the tokens that came so far.
func (a *Attempt) Delivered() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.ended:
		return a.end.Delivered
	case a.scans:
		return a.scanner.Delivered()
	}
	return 0
}

// Kind is what the error is about that the response is, as far as it was read. Of one that
// is no error it is llm.UnknownKind.
func (a *Attempt) Kind() llm.Kind {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.facts()
	if a.ended {
		f.said = a.end.Said
	}
	if f.said == nil && f.status < http.StatusBadRequest {
		return llm.UnknownKind
	}
	return f.kind()
}
