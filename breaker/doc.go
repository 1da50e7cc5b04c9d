// Package breaker keeps requests from endpoints that fail.
//
//	breakers, err := breaker.New(breaker.Config{})
//	pool, err := balance.New(balance.Config{Endpoints: endpoints, Transport: breakers.Transport(engine)})
//
// A [Group] has a circuit for each endpoint. It opens when at least ten exchanges ended in
// the last ten seconds and half of them failed, in any order, and stays open for five
// seconds. That is the rule of github.com/afex/hystrix-go, which counts with us and has to
// agree; its circuits are only asked and told, and nothing of ours runs in a goroutine of
// its. A request is one exchange, whatever the number of its attempts; one that succeeds in
// the end did not fail.
//
// The way back is judged by the same rate: when it fails, the circuit sleeps twice as long.
// Where a balance.Pool can send requests elsewhere 1, 5, 25, 50 and then 100 % of them
// pass; where it can't, two a second do until the first success, and three successes close
// the circuit.
//
// Additions to the rule, each of which [Settings] can switch. On are:
//   - Callers: one caller's failures alone open nothing while others are served.
//   - Routes: a path, or a version of a model, that always fails is open alone while others
//     are served there.
//   - Trickle: an open circuit lets two requests a second through that have nowhere else to
//     go, so that an only endpoint is back within a second.
//   - Ramp and Step: the shares above.
//
// Off are Consecutive (failures in a row), SlowFirstByte and MaxConcurrent.
//
// A failure is what the endpoint is to blame for: errors of the connection, status 500 and
// above, responses that break off, and error events of its own fault. A client that leaves,
// status 4xx, a spent quota, an error of unknown kind within a stream, a panic of the
// gateway's and a copy of a request say nothing. Without a pool above, a 429 with Retry-After
// has the same credential and model wait. What began before a circuit changed its state says
// nothing of the new one.
//
// What happens on failure: a request that may not pass fails at once with 503 and
// Retry-After (closed), before anything was sent, so that another endpoint can be asked.
package breaker
