package jet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// headerBlob names the file with a message's payload.
const headerBlob = "Ginfer-Blob"

// outbox publishes payloads that may be too large for one message.
type outbox struct {
	*conn
	files *Files
	// letters takes the dead letters of what was published.
	letters *Letters
}

// message creates a message, and stores its payload as a file when it is too large.
func (o *outbox) message(ctx context.Context, subject, id string, payload []byte) (*nats.Msg, error) {
	m := nats.NewMsg(subject)
	if id != "" {
		m.Header.Set(jetstream.MsgIDHeader, id)
	}
	if len(payload) <= o.inline() {
		m.Data = payload
		return m, nil
	}
	name, err := o.files.putBlob(ctx, payload)
	if err != nil {
		return nil, err
	}
	m.Header.Set(headerBlob, name)
	return m, nil
}

func (o *outbox) publish(ctx context.Context, m *nats.Msg) error {
	duplicate := false
	err := o.retry(ctx, func(ctx context.Context) error {
		ack, err := o.js.PublishMsg(ctx, m)
		duplicate = err == nil && ack.Duplicate
		return err
	})
	if err != nil && !errors.Is(err, ErrUnavailable) || duplicate {
		o.files.dropBlob(ctx, m.Header.Get(headerBlob)) // no message refers to it
	}
	return err
}

// await waits for the acknowledgement of a message that was published.
func await(ctx context.Context, f jetstream.PubAckFuture) error {
	wait := 2 * attemptTimeout
	if hasty(ctx) {
		wait = hasteLimit
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-f.Ok():
		return nil
	case err := <-f.Err():
		return classify(err)
	case <-t.C:
		return fmt.Errorf("%w: %w", ErrUnavailable, nats.ErrTimeout)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// collect reads the deliveries of a batch.
func (o *outbox) collect(batch jetstream.MessageBatch) []*Delivery {
	var all []*Delivery
	for m := range batch.Messages() {
		all = append(all, o.delivery(m))
	}
	return all
}

func (o *outbox) delivery(m jetstream.Msg) *Delivery {
	d := &Delivery{box: o, msg: m, Attempt: 1}
	if meta, err := m.Metadata(); err == nil {
		d.Attempt, d.Published = int(min(meta.NumDelivered, 1<<30)), meta.Timestamp
	}
	return d
}

// consumerConfig has no MaxDeliver: the server would ignore messages beyond it.
func (o *outbox) consumerConfig(name, subject string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: name, FilterSubject: subject, AckPolicy: jetstream.AckExplicitPolicy, AckWait: o.cfg.Lease,
		MaxDeliver: -1, MaxAckPending: -1, InactiveThreshold: idle,
	}
}
