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

// Letter is a message that could not be done.
type Letter struct {
	// Number names it.
	Number uint64
	// Kind and ID say what it was; Tenant whose; Reason why it is here.
	Kind, ID, Tenant, Reason string
	// Attempts is how often it was delivered.
	Attempts int
	// Time is when it was given up.
	Time time.Time
	blob string
	data []byte
}

// bury writes a letter once, however often it is called for the same message.
func (s *Store) bury(ctx context.Context, d *Delivery, letter Letter) error {
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
	return s.again(ctx, func(ctx context.Context) error {
		_, err := s.js.PublishMsg(ctx, m)
		return err
	})
}

// oneLine keeps a reason from breaking out of its header.
func oneLine(text string) string {
	b := []byte(text[:min(len(text), 500)])
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = ' '
		}
	}
	return string(b)
}

// Letters lists dead letters, from the first whose number is greater than after.
func (s *Store) Letters(ctx context.Context, after uint64, limit int) ([]Letter, error) {
	var all []Letter
	for len(all) < limit {
		var raw *jetstream.RawStreamMsg
		err := s.again(ctx, func(ctx context.Context) (err error) {
			raw, err = s.dead.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(s.cfg.Name+".d.>"))
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

// Letter reads one dead letter.
func (s *Store) Letter(ctx context.Context, number uint64) (Letter, error) {
	var raw *jetstream.RawStreamMsg
	err := s.again(ctx, func(ctx context.Context) (err error) {
		raw, err = s.dead.GetMsg(ctx, number)
		return err
	})
	if err != nil {
		return Letter{}, err
	}
	return s.letter(raw), nil
}

func (s *Store) letter(raw *jetstream.RawStreamMsg) Letter {
	attempts, _ := strconv.Atoi(raw.Header.Get(headerAttempts))
	h := raw.Header
	return Letter{
		Number: raw.Sequence, Kind: h.Get(headerKind), ID: h.Get(headerID), Reason: h.Get(headerReason), Attempts: attempts,
		Tenant: decode(raw.Subject, s.cfg.Name+".d."), Time: raw.Time, blob: h.Get(headerBlob), data: raw.Data,
	}
}

// Content is what the message said.
func (s *Store) Content(ctx context.Context, l Letter) ([]byte, error) {
	if l.blob != "" {
		return s.getBlob(ctx, l.blob)
	}
	return l.data, nil
}

// Discard removes a dead letter.
func (s *Store) Discard(ctx context.Context, l Letter) error {
	err := s.again(ctx, func(ctx context.Context) error { return s.dead.DeleteMsg(ctx, l.Number) })
	if err == nil {
		s.dropBlob(ctx, l.blob)
	}
	return err
}
