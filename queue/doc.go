// Package queue takes requests that may take long and carries them out later: single
// jobs, and batches as the OpenAI API has them.
//
//	store, err := embedded.New(embedded.Config{Dir: "/var/lib/gateway/queue"})
//	jobs, err := queue.New(queue.Config{Connect: store.Connect, Owner: auth.Subject, Handler: chain})
//	jobs.Routes(r.Group("/v1", authn.Middleware()))
//	go store.Run(ctx)
//	go jobs.Run(ctx)
//
// # What it offers
//
// [Queue.BatchRoutes] adds /files and /batches, which the OpenAI SDKs drive: a file of
// lines goes in, a file of answers in the same order comes out. [Queue.JobRoutes] adds
// /jobs: one request, answered with 202 and a Location, to be polled, waited for
// (?wait=30s), followed by server-sent events, told of by a signed webhook, or
// cancelled. [Queue.AdminRoutes] shows its state, and the dead letters, which can be
// replayed. An Idempotency-Key makes a submission that is repeated the same job.
//
// # How it works
//
// Everything is in NATS JetStream: by default in a server inside the process, without
// a port (package embedded), or in a cluster ([URL], Replicas 3). Workers take tasks
// by tenant, in turns, so that one with ten thousand waiting does not hold up one with
// a few; high, normal and low priority get 16, 4 and 1 of 21 turns. They do no more
// than Config.SpareCapacity allows, so that live traffic goes first.
//
// A task runs through Config.Handler, the gateway's own chain, with the identity of
// who submitted it, so that limits, breakers and meters count it. What a 429, a 5xx or
// a broken answer ends is tried again, with backoff, and as Retry-After asks. Streams
// are refused.
//
// # In the chain
//
// The routes come after auth, whose auth.Subject is an Owner, and need no limits of
// their own: the queue's bounds answer 429. The Handler is the rest of the chain:
// limits, cache, proxy; without auth, in whose place Config.Attach puts the identity.
// [FromContext] says there that a request comes from the queue.
//
// # What happens on failure
//
// What was answered with 202 is stored and will be carried out, also after kill -9. A
// task may be begun more than once, when a process dies, but has one result: the first
// that is written counts, all else is discarded. An upstream can tell a repetition by
// the Idempotency-Key header that each request carries. A task that kills its process
// again and again, or fails for good, becomes a dead letter.
//
// Without the store every request is refused with 503 (closed); so is one whose owner
// can't be told. When it is full the answer is 429 with Retry-After.
//
// Handlers must end when their context does: the end of Run waits for them.
//
// The pool of workers is from the package ants, which starts two goroutines of its own
// when a program begins.
package queue
