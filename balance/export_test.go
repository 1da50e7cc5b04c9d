package balance

import "net/http"

// Pick makes a pick without sending anything, for benchmarks.
func Pick(p *Pool, req *http.Request) string { return p.pick(req, nil, nil).name }
