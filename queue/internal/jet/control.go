package jet

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Channel is one of the queues beside the lanes.
type Channel string

// The channels.
const (
	// Batches has a message for each batch that is not done.
	Batches Channel = "batch"
	// Hooks has one for each call that is due.
	Hooks Channel = "hook"
)

func (s *Store) channelSubject(c Channel, owner string) string {
	return s.cfg.Name + ".c." + string(c) + "." + Encode(owner)
}

// Send adds a message of an owner's to a channel, unless one of the same ID was
// added within the window.
func (s *Store) Send(ctx context.Context, to Channel, owner, id string, payload []byte) error {
	m, err := s.message(ctx, s.channelSubject(to, owner), id, payload)
	if err != nil {
		return err
	}
	return s.publish(ctx, m)
}

// Count is how many messages of an owner's there are.
func (s *Store) Count(ctx context.Context, in Channel, owner string) (n uint64, err error) {
	subject := s.channelSubject(in, owner)
	err = s.again(ctx, func(ctx context.Context) error {
		info, err := s.control.Info(ctx, jetstream.WithSubjectFilter(subject))
		if err == nil {
			n = info.State.Subjects[subject]
		}
		return err
	})
	return n, err
}

// Receiver takes messages from a channel.
type Receiver struct {
	store    *Store
	channel  Channel
	consumer jetstream.Consumer
}

// Receiver returns a Receiver.
func (s *Store) Receiver(ctx context.Context, from Channel) (*Receiver, error) {
	r := &Receiver{store: s, channel: from}
	cfg := s.consumerConfig(string(from), s.cfg.Name+".c."+string(from)+".*")
	cfg.InactiveThreshold = 0 // there are only two of these
	err := s.again(ctx, func(ctx context.Context) (err error) {
		r.consumer, err = s.control.CreateOrUpdateConsumer(ctx, cfg)
		return err
	})
	return r, err
}

// Next waits for a message, and returns it with others that are there, up to n. It
// returns none after a while.
func (r *Receiver) Next(ctx context.Context, n int, wait time.Duration) ([]*Delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	batch, err := r.consumer.Fetch(1, jetstream.FetchContext(ctx)) // more than one would be waited for
	if err != nil {
		return nil, classify(err)
	}
	all := r.store.collect(batch)
	if len(all) == 0 {
		if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout) {
			return nil, classify(err)
		}
		return nil, nil
	}
	if n > 1 {
		if batch, err = r.consumer.FetchNoWait(n - 1); err == nil {
			all = append(all, r.store.collect(batch)...)
		}
	}
	return all, nil
}
