package balance

import "net/http"

// Pick makes a pick without sending anything, for benchmarks.
func Pick(p *Pool, req *http.Request) string {
	n, _ := p.choose(req, nil)
	return n.name
}

// Tells reports whether a read of a stream counts, from begin until now, after an event at
// last.
func Tells(last, begin, now int64) bool { return (&beat{last: last}).isEvidence(begin, now) }
