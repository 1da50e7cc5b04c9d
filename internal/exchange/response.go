package exchange

import (
	"net/http"

	"github.com/ginfer/ginfer/internal/llm"
)

// Status returns the response's status; 0: there is no response yet.
func (a *Attempt) Status() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

// Header returns the response's header; nil: there is no response yet. It must not be changed.
func (a *Attempt) Header() http.Header {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.header
}

// IsStream reports whether the response is a stream whose events are scanned.
func (a *Attempt) IsStream() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.body != nil && a.body.stream
}

// Delivered returns the estimated number of tokens received so far.
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

// Kind returns the kind of the response's error, as far as it was read; llm.UnknownKind if it
// is no error.
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
