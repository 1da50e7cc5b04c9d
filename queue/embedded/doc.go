// Package embedded runs a NATS server with JetStream inside the process, so that a queue
// needs no other service.
//
//	server, err := embedded.New(embedded.Config{Dir: "/var/lib/gateway/queue"})
//	q, err := queue.New(queue.Config{Connect: server.Connect, ...})
//	group.Go(func() error { return server.Run(ctx) }) // ErrInUse and the like are seen here
//	group.Go(func() error { return q.Run(ctx) })
//
// By default it has no port: only this process reaches it. Everything is in files below
// Dir, which belongs to one process at a time. With Listen other processes can use it.
// With Cluster too, three gateways form a cluster, and a queue with Replicas: 3 survives
// the loss of one.
//
// What happens on failure: acknowledged writes survive the end of the process, even kill
// -9. Data is synced to disk every SyncInterval, so a power failure may lose the last of
// it. SyncAlways syncs each write, and is about ten times slower.
//
// When the context of Run ends, the server waits until the queue has closed its
// connections, so that both can share a context.
package embedded
