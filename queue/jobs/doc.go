// Package jobs serves single requests that a queue carries out later.
//
//	q, err := queue.New(queue.Config{...})
//	j, err := jobs.New(jobs.Config{Queue: q})
//	j.Routes(r.Group("/v1", authn.Middleware()))
//	go q.Run(ctx)
//
// A POST to /jobs is accepted with 202 and a Location:
//
//	{"url": "/v1/chat/completions", "body": {...}, "priority": "low", "expires_in": 3600,
//	 "metadata": {"team": "a"}, "webhook": {"url": "https://example.com/done"}}
//
// Only url and body are required; method is POST. GET /jobs/ID is the status (?wait=30s waits
// for the end), /jobs/ID/result the response of the model, /jobs/ID/events the status as
// server-sent events; POST /jobs/ID/cancel cancels the job, and GET /jobs lists those of the
// caller. A signed webhook can report the end. An Idempotency-Key makes a repeated submission
// the same job. Streams are refused.
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
