package balance

import "net/http"

// Pick makes a pick without sending anything, for benchmarks.
func Pick(p *Pool, req *http.Request) string { return p.pick(req, nil, nil).name }

// Tells reports whether a read of a stream counts, from begin until now, after an event at
// last.
func Tells(last, begin, now int64) bool { return (&pacedBody{last: last}).tells(begin, now) }
