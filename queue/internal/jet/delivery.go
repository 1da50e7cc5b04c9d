package jet

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Delivery is a message that belongs to this process until it is ended or its
// lease runs out.
type Delivery struct {
	store *Store
	msg   jetstream.Msg
	// Attempt counts the deliveries of the message, this one too.
	Attempt int
	// Published is when it was.
	Published time.Time
}

func (s *Store) delivery(m jetstream.Msg) *Delivery {
	d := &Delivery{store: s, msg: m, Attempt: 1}
	if meta, err := m.Metadata(); err == nil {
		d.Attempt, d.Published = int(min(meta.NumDelivered, 1<<30)), meta.Timestamp
	}
	return d
}

// Payload is what was published.
func (d *Delivery) Payload(ctx context.Context) ([]byte, error) {
	if name := d.msg.Headers().Get(headerBlob); name != "" {
		return d.store.getBlob(ctx, name)
	}
	return d.msg.Data(), nil
}

// Done ends the message. Should the word be lost, it comes again.
func (d *Delivery) Done(ctx context.Context) error {
	err := d.msg.Ack()
	if err == nil {
		d.store.dropBlob(ctx, d.msg.Headers().Get(headerBlob))
	}
	return classify(err)
}

// AckSync is Done that waits until the store has it.
func (d *Delivery) AckSync(ctx context.Context) error {
	err := d.store.again(ctx, d.msg.DoubleAck)
	if err == nil {
		d.store.dropBlob(ctx, d.msg.Headers().Get(headerBlob))
	}
	return err
}

// Nak gives the message back, to be delivered after a delay.
func (d *Delivery) Nak(delay time.Duration) error { return classify(d.msg.NakWithDelay(delay)) }

// Extend says that the message is still worked on.
func (d *Delivery) Extend() error { return classify(d.msg.InProgress()) }

// DeadLetter makes the message a dead letter, then ends it.
func (d *Delivery) DeadLetter(ctx context.Context, letter Letter) error {
	if err := d.store.bury(ctx, d, letter); err != nil {
		return err
	}
	// Its payload, when it lies apart, now belongs to the letter.
	return d.store.again(ctx, func(context.Context) error { return d.msg.TermWithReason(letter.Reason) })
}
