package jet

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Probe writes to every stream, and removes what it wrote: after a full disk, a server may
// read and count while single streams refuse to store.
func (s *Store) Probe(ctx context.Context) error {
	ctx = Hasty(ctx)
	if err := s.Records.Put(ctx, "probe", nil); err != nil {
		return err
	}
	for _, in := range []struct {
		stream jetstream.Stream
		kind   string
	}{{s.Tasks.stream, "w"}, {s.Channels.stream, "c"}, {s.Results.stream, "r"}, {s.Files.stream, "f"}} {
		subject := s.cfg.Name + "." + in.kind + ".probe"
		err := s.retry(ctx, func(ctx context.Context) error {
			_, err := s.js.PublishMsg(ctx, nats.NewMsg(subject))
			return err
		})
		if err != nil && !errors.Is(err, ErrFull) && !errors.Is(err, ErrLaneFull) { // a full one responds
			return err
		}
		if err := s.retry(ctx, func(ctx context.Context) error { return in.stream.Purge(ctx, jetstream.WithPurgeSubject(subject)) }); err != nil {
			return err
		}
	}
	return nil
}
