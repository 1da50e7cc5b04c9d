package jet

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Delivery is a message that belongs to this process until it is acknowledged or its
// lease runs out.
type Delivery struct {
	box *outbox
	msg jetstream.Msg
	// Attempt counts the deliveries of the message, this one included.
	Attempt int
	// Published is when the message was published.
	Published time.Time
}

// Payload returns what was published.
func (d *Delivery) Payload(ctx context.Context) ([]byte, error) {
	if name := d.msg.Headers().Get(headerBlob); name != "" {
		return d.box.files.getBlob(ctx, name)
	}
	return d.msg.Data(), nil
}

// Ack ends the message. If the acknowledgement is lost, the message is delivered again.
func (d *Delivery) Ack(ctx context.Context) error {
	err := d.msg.Ack()
	if err == nil {
		d.box.files.dropBlob(ctx, d.msg.Headers().Get(headerBlob))
	}
	return classify(err)
}

// AckSync is Ack that waits until the store confirms it.
func (d *Delivery) AckSync(ctx context.Context) error {
	err := d.box.retry(ctx, d.msg.DoubleAck)
	if err == nil {
		d.box.files.dropBlob(ctx, d.msg.Headers().Get(headerBlob))
	}
	return err
}

// Nak returns the message, to be delivered again after a delay.
func (d *Delivery) Nak(delay time.Duration) error { return classify(d.msg.NakWithDelay(delay)) }

// Extend renews the lease.
func (d *Delivery) Extend() error { return classify(d.msg.InProgress()) }

// DeadLetter makes the message a dead letter, then ends it.
func (d *Delivery) DeadLetter(ctx context.Context, letter Letter) error {
	if err := d.box.letters.add(ctx, d, letter); err != nil {
		return err
	}
	// A payload that is stored as a file belongs to the letter now.
	return d.box.retry(ctx, func(context.Context) error { return d.msg.TermWithReason(letter.Reason) })
}
