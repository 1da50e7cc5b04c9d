// Package queue carries out requests later that may take long: jobs, which package jobs
// serves, and batches as in the OpenAI API, which package batch serves.
//
//	store, err := embedded.New(embedded.Config{Dir: "/var/lib/gateway/queue"})
//	q, err := queue.New(queue.Config{Connect: store.Connect, Owner: auth.Subject, Handler: chain})
//	j, err := jobs.New(jobs.Config{Queue: q})
//	b, err := batch.New(batch.Config{Queue: q})
//	j.Routes(r.Group("/v1", authn.Middleware()))
//	b.Routes(r.Group("/v1", authn.Middleware()))
//	go store.Run(ctx)
//	go q.Run(ctx)
//
// [Queue.AdminRoutes] shows the state of the queue and its dead letters, and replays
// them.
//
// # How it works
//
// Everything is stored in NATS JetStream: by default in a server inside the process,
// without a port (package embedded), or in a cluster ([URL], Replicas 3). A task waits in
// the lane of its tenant and priority. Workers take turns between the lanes, so that a
// tenant with ten thousand tasks does not delay one with a few. High, normal and low
// priority get 16, 4 and 1 of 21 turns. No more tasks are started than
// Config.SpareCapacity allows, so that live traffic goes first.
//
// A task runs through Config.Handler, the gateway's own chain, with the identity of its
// submitter, so that limits, breakers and meters apply. After a 429, a 5xx or an
// incomplete response there is another attempt, with backoff, and after Retry-After.
//
// # In the chain
//
// The Handler is the rest of the chain after auth: limits, cache, proxy. Instead of auth,
// Config.Attach adds the identity. [FromContext] identifies requests of the queue there.
//
// # What happens on failure
//
// What was accepted is stored and will be carried out, even after kill -9. A task may be
// begun more than once when a process dies, but has one result: the first that is
// written. An upstream can detect a repetition by the Idempotency-Key header of each
// request. A task that kills its process again and again, or fails for good, becomes a
// dead letter.
//
// Without the store every request is refused with 503. A request without an owner is
// refused too. A full queue responds with 429 and Retry-After.
//
// Handlers must return when their context ends: the end of Run waits for them.
package queue
