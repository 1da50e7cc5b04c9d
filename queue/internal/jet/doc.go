// Package jet stores the state of a queue in NATS JetStream: tasks in a work queue with
// a lane for each tenant and class, records that are changed by compare-and-swap,
// results that are written once, files, and dead letters.
//
// It knows nothing of HTTP. The meaning of a message is its caller's business.
package jet
