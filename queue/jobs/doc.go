// Package jobs serves single requests that a queue carries out later.
//
//	q, err := queue.New(queue.Config{...})
//	j, err := jobs.New(jobs.Config{Queue: q})
//	j.Routes(r.Group("/v1", authn.Middleware()))
//	go q.Run(ctx)
//
// A POST to /jobs is accepted with 202 and a Location. The job can be polled, waited for
// (?wait=30s), followed as server-sent events, and cancelled; a signed webhook can report
// its end. An Idempotency-Key makes a repeated submission the same job. Streams are
// refused.
//
// # In the chain
//
// The routes come after auth, because queue.Config.Owner needs the caller. They need no
// limits of their own: a full queue responds with 429. Webhooks never lead to addresses
// that are not public, unless Webhooks.Networks allows them.
//
// # What happens on failure
//
// A job that was accepted is stored and will be carried out, even after kill -9. It may
// be begun more than once, but has one result: the first that is written. A job that
// fails for good becomes a dead letter, and so does a webhook; queue.AdminRoutes replays
// both. Without the store every request is refused with 503.
package jobs
