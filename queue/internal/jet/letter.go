package jet

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The headers of a dead letter.
const (
	headerKind     = "Ginfer-Kind"
	headerID       = "Ginfer-Id"
	headerReason   = "Ginfer-Reason"
	headerAttempts = "Ginfer-Attempts"
)

// Letter is a dead letter: a message that was given up.
type Letter struct {
	// Number identifies the letter.
	Number uint64
	// Kind and ID name the work, Tenant its tenant, and Reason why it was given up.
	Kind, ID, Tenant, Reason string
	// Attempts is the number of attempts, or of deliveries.
	Attempts int
	// Time is when the message was given up.
	Time time.Time
	blob string
	data []byte
}

// Letters are the dead letters.
type Letters struct {
	*outbox
	stream jetstream.Stream
}

// add writes a letter. Further calls for the same message have no effect.
func (s *Letters) add(ctx context.Context, d *Delivery, letter Letter) error {
	m := nats.NewMsg(s.cfg.Name + ".d." + Encode(letter.Tenant))
	meta, err := d.msg.Metadata()
	if err != nil {
		return classify(err)
	}
	m.Data = d.msg.Data()
	m.Header.Set(jetstream.MsgIDHeader, meta.Stream+"."+strconv.FormatUint(meta.Sequence.Stream, 10))
	m.Header.Set(headerKind, letter.Kind)
	m.Header.Set(headerID, letter.ID)
	m.Header.Set(headerReason, oneLine(letter.Reason))
	m.Header.Set(headerAttempts, strconv.Itoa(letter.Attempts))
	if blob := d.msg.Headers().Get(headerBlob); blob != "" {
		m.Header.Set(headerBlob, blob)
	}
	return s.retry(ctx, func(ctx context.Context) error {
		_, err := s.js.PublishMsg(ctx, m)
		return err
	})
}

// oneLine prevents a reason from adding headers.
func oneLine(text string) string {
	b := []byte(text[:min(len(text), 500)])
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = ' '
		}
	}
	return string(b)
}

// List returns up to limit dead letters with numbers greater than after.
func (s *Letters) List(ctx context.Context, after uint64, limit int) ([]Letter, error) {
	var all []Letter
	for len(all) < limit {
		var raw *jetstream.RawStreamMsg
		err := s.retry(ctx, func(ctx context.Context) (err error) {
			raw, err = s.stream.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(s.cfg.Name+".d.>"))
			return err
		})
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s.letter(raw))
		after = raw.Sequence
	}
	return all, nil
}

// Get reads a dead letter.
func (s *Letters) Get(ctx context.Context, number uint64) (Letter, error) {
	var raw *jetstream.RawStreamMsg
	err := s.retry(ctx, func(ctx context.Context) (err error) {
		raw, err = s.stream.GetMsg(ctx, number)
		return err
	})
	if err != nil {
		return Letter{}, err
	}
	return s.letter(raw), nil
}

func (s *Letters) letter(raw *jetstream.RawStreamMsg) Letter {
	attempts, _ := strconv.Atoi(raw.Header.Get(headerAttempts))
	h := raw.Header
	return Letter{
		Number: raw.Sequence, Kind: h.Get(headerKind), ID: h.Get(headerID), Reason: h.Get(headerReason), Attempts: attempts,
		Tenant: decode(raw.Subject, s.cfg.Name+".d."), Time: raw.Time, blob: h.Get(headerBlob), data: raw.Data,
	}
}

// Content returns the payload of the message that was given up.
func (s *Letters) Content(ctx context.Context, l Letter) ([]byte, error) {
	if l.blob != "" {
		return s.files.getBlob(ctx, l.blob)
	}
	return l.data, nil
}

// Discard removes a dead letter.
func (s *Letters) Discard(ctx context.Context, l Letter) error {
	err := s.retry(ctx, func(ctx context.Context) error { return s.stream.DeleteMsg(ctx, l.Number) })
	if err == nil {
		s.files.dropBlob(ctx, l.blob)
	}
	return err
}
