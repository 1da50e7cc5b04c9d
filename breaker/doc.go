// Package breaker provides circuit breakers, which keep requests from endpoints that fail.
//
//	breakers, err := breaker.New(breaker.Config{})
//	pool, err := balance.New(balance.Config{Endpoints: endpoints, Transport: breakers.Transport(engine)})
//
// A [Group] has one circuit per endpoint. A circuit opens when at least ten exchanges ended in
// the last ten seconds and half of them failed, in any order, and stays open for five seconds.
// That is the rule of github.com/afex/hystrix-go, which counts as well and has to agree; only
// its counters are used, and no request runs in a goroutine of its own. A request is one
// exchange, whatever the number of its attempts; if the last attempt succeeds, the exchange did
// not fail.
//
// Recovery is judged by the same rate: when it fails, the circuit stays open twice as long. If
// a balance.Pool can send requests elsewhere, 1, 5, 25, 50 and then 100 % of them pass.
// Otherwise two per second pass until the first success, and three successes close the circuit.
//
// [Settings] can switch each addition to this rule. On by default are:
//   - Callers: the failures of one caller alone don't open the circuit while others are served.
//   - Routes: a path, or a version of a model, that always fails opens alone while others are
//     served.
//   - Trickle: an open circuit admits two requests per second that have no other endpoint, so
//     that an only endpoint recovers within a second.
//   - Ramp and Step: the shares above.
//
// Off by default are Consecutive (failures in a row), SlowFirstByte and MaxConcurrent.
//
// A failure is what the endpoint is to blame for: errors of the connection, status 500 and
// above, responses that break off, and error events of its own fault. A client disconnect,
// status 4xx, a spent quota, an error of unknown kind within a stream, a panic of the gateway
// a shadow request and an active health check count neither way. Without a pool above, a 429 with Retry-After starts a
// cooldown for the same credential and model. Exchanges that began before a change of state
// don't count for the new one.
//
// Behind a pool with the default Outlier, five failures in a row eject an endpoint before its
// circuit has seen ten exchanges. Set Outlier.Consecutive to -1 to let the circuit decide.
//
// What happens on failure: a rejected request fails at once with 503 and Retry-After (closed),
// before anything was sent, so that another endpoint can be used.
//
// To read the code, start at allow and end in circuit.go; judge.go opens a circuit, lane.go
// closes it.
package breaker
