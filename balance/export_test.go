package balance

import (
	"net/http"

	"github.com/ginfer/ginfer/internal/connect"
)

// Pick makes a pick without sending anything, for benchmarks.
func Pick(p *Pool, req *http.Request) string {
	n, _ := p.choose(req, nil)
	return n.name
}

// IsEvidence reports whether a read of a stream from begin until now counts, after an event at
// last.
func IsEvidence(last, begin, now int64) bool { return (&beat{last: last}).isEvidence(begin, now) }

// DefaultTransport returns the http.Transport of a pool without one of its own.
func DefaultTransport() *http.Transport { return defaultTransport().(*connect.Transport).Transport }
