package jet

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Channel is one of the work queues beside the lanes.
type Channel string

// The channels.
const (
	// Batches has a message for each unfinished batch.
	Batches Channel = "batch"
	// Hooks has a message for each webhook call that is due.
	Hooks Channel = "hook"
)

// Channels are the work queues beside the lanes.
type Channels struct {
	*outbox
	stream jetstream.Stream
}

func (s *Channels) subject(c Channel, owner string) string {
	return s.cfg.Name + ".c." + string(c) + "." + Encode(owner)
}

// Send adds a message of an owner to a channel, unless one with the same ID was added
// within the window.
func (s *Channels) Send(ctx context.Context, to Channel, owner, id string, payload []byte) error {
	m, err := s.message(ctx, s.subject(to, owner), id, payload)
	if err != nil {
		return err
	}
	return s.publish(ctx, m)
}

// Count counts the messages of an owner.
func (s *Channels) Count(ctx context.Context, in Channel, owner string) (n uint64, err error) {
	subject := s.subject(in, owner)
	err = s.retry(ctx, func(ctx context.Context) error {
		info, err := s.stream.Info(ctx, jetstream.WithSubjectFilter(subject))
		if err == nil {
			n = info.State.Subjects[subject]
		}
		return err
	})
	return n, err
}

// Receiver takes messages from a channel.
type Receiver struct {
	channels *Channels
	consumer jetstream.Consumer
}

// Receiver returns a Receiver.
func (s *Channels) Receiver(ctx context.Context, from Channel) (*Receiver, error) {
	r := &Receiver{channels: s}
	cfg := s.consumerConfig(string(from), s.cfg.Name+".c."+string(from)+".*")
	cfg.InactiveThreshold = 0 // there are only two of these
	err := s.retry(ctx, func(ctx context.Context) (err error) {
		r.consumer, err = s.stream.CreateOrUpdateConsumer(ctx, cfg)
		return err
	})
	return r, err
}

// Next waits for a message, and returns it with others that are there, up to n. It
// returns none after wait.
func (r *Receiver) Next(ctx context.Context, n int, wait time.Duration) ([]*Delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	batch, err := r.consumer.Fetch(1, jetstream.FetchContext(ctx)) // it would wait for all of a larger batch
	if err != nil {
		return nil, classify(err)
	}
	all := r.channels.collect(batch)
	if len(all) == 0 {
		if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout) {
			return nil, classify(err)
		}
		return nil, nil
	}
	if n > 1 {
		if batch, err = r.consumer.FetchNoWait(n - 1); err == nil {
			all = append(all, r.channels.collect(batch)...)
		}
	}
	return all, nil
}
