// Package flight coalesces requests: one producer writes a response that many readers read
// while it is produced. It also works for streams.
//
//	f, reader, leads := group.Join(ctx, key, shared)
//	if leads {
//		rec := flight.NewRecorder(flight.RecorderConfig{Response: f.Response, Reader: reader, Client: g.Writer, Leader: leader})
//		g.Writer = rec // the handlers write here
//		g.Next()
//		err := rec.Close(false)
//	}
//	<-f.Ready() // followers
//	player.Play(ctx, f.Response, reader)
//
// A [Group] finds the [Flight] of a key. Its [Response] is written by the [Recorder] of the
// leader, and read by a [Player] per client, each at its own pace and from the beginning,
// whenever it joined. The production ends when every reader has left. It waits for slow
// readers only while all are slow; otherwise a slow one is dropped ([ErrSlow]).
//
// The package knows no policy: the [Leader] decides which clients get the response. If it fails
// before its first byte, a follower leads a second flight ([Group.Succeed]).
package flight
