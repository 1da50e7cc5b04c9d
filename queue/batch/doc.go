// Package batch serves the files and batches of the OpenAI API. A queue carries out
// their requests later. The OpenAI SDKs can use it.
//
//	q, err := queue.New(queue.Config{...})
//	b, err := batch.New(batch.Config{Queue: q})
//	b.Routes(r.Group("/v1", authn.Middleware()))
//	go q.Run(ctx)
//
// A batch reads a file of lines, one request each, and writes a file of responses in the
// same order. Requests that fail are in a file of their own.
//
// # How it works
//
// One process drives a batch: it validates the input, feeds the lines into the tenant's
// lane bit by bit, and writes the files at the end. Another process continues where it
// stopped.
//
// # In the chain
//
// The routes come after auth, because queue.Config.Owner needs the caller. They need no
// limits of their own: the bounds of Config respond with 429.
//
// # What happens on failure
//
// A batch that was accepted is stored and will end, even after kill -9. A line may be
// begun more than once, but has one result. A batch past its window, or with a deleted
// input, ends with the results it has. Without the store every request is refused
// with 503.
package batch
