package exchange

import (
	"net/http"
	"slices"
)

// Enter records in a request that it passes a middleware, and reports whether it does not pass it
// already: a request is charged and recorded once, although it may pass twice, on a group and a
// route or after gin's HandleContext. The returned request carries the record.
func Enter(r *http.Request, middleware any) (*http.Request, bool) {
	x, r := Of(r)
	x.mu.Lock()
	defer x.mu.Unlock()
	if slices.Contains(x.passed.all, middleware) {
		return r, false
	}
	x.passed.add(middleware)
	return r, true
}

// Leave undoes Enter: the next pass counts again.
func Leave(r *http.Request, middleware any) {
	x := From(r.Context())
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.passed.all = slices.DeleteFunc(x.passed.all, func(m any) bool { return m == middleware })
}
