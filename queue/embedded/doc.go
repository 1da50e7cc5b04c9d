// Package embedded runs a NATS server with JetStream inside the process, so that a
// queue needs nothing beside it.
//
//	server, err := embedded.New(embedded.Config{Dir: "/var/lib/gateway/queue"})
//	jobs, err := queue.New(queue.Config{Connect: server.Connect, ...})
//	go server.Run(ctx)
//	go jobs.Run(ctx)
//
// By default it has no port: only this process reaches it. Everything is in files
// below Dir, which belongs to one process at a time. With Listen other processes can
// use it; with Cluster as well three gateways make a cluster of their own, and a queue
// with Replicas: 3 survives the loss of one.
//
// What happens on failure: what was acknowledged survives the end of the process,
// kill -9 too. Data reaches the disk within SyncInterval, so that a loss of power may
// cost the last of it; SyncAlways waits for the disk each time, about ten times
// slower.
//
// When the context of Run ends, the server waits until the queue has closed its
// connections, so both can have the same context.
package embedded
