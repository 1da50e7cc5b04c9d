// Package breaker keeps requests from endpoints that fail.
//
//	breakers, err := breaker.New(breaker.Config{})
//	pool, err := balance.New(balance.Config{Endpoints: endpoints, Transport: breakers.Transport(engine)})
//
// A [Group] has a circuit for each endpoint. It opens when too many exchanges of the
// last ten seconds failed, when too many first bytes came late, or after ten failures in
// a row, and closes again by a ramp: after a sleep that doubles with every relapse 1, 5,
// 25, 50 and then 100 % of requests pass.
//
// Failures are errors of the transport, status 500 and above, answers that break off,
// streams that lack their last event, and error events in them. A client that leaves,
// and status 4xx, say nothing. A 429 with Retry-After rests the endpoint for that time.
// What began before a circuit opened does not close it.
//
// The rate of failures is counted by github.com/afex/hystrix-go, whose circuits are only
// asked and told; nothing of ours runs in a goroutine of its. Its circuits are never
// given up, but used again: see [Group.Close].
//
// What happens on failure: a request that may not pass fails at once with 503 and
// Retry-After (closed), before anything was sent, so that it can be tried elsewhere.
package breaker
