package jet

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// headerOutcome is read without the result.
const headerOutcome = "Ginfer-Outcome"

// Result is what became of one task. It is written once.
type Result struct {
	// ID and Slot name it: a batch and a line, a job and its round.
	ID   string
	Slot int
	// Outcome is a word of the caller's.
	Outcome string
	// Value is the whole of it. [Store.Follow] leaves it out.
	Value []byte
	// Sequence orders all results.
	Sequence uint64
}

func (s *Store) resultSubject(id string, slot int) string {
	return s.cfg.Name + ".r." + id + "." + strconv.Itoa(slot)
}

// Commit writes the result of a task, or returns ErrExists: somebody was first, and
// this one is discarded.
func (s *Store) Commit(ctx context.Context, r Result) error {
	m, err := s.message(ctx, s.resultSubject(r.ID, r.Slot), "", r.Value)
	if err != nil {
		return err
	}
	m.Header.Set(headerOutcome, r.Outcome)
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, "0")
	if err = s.publish(ctx, m); errors.Is(err, ErrConflict) {
		return fmt.Errorf("%w: %w", ErrExists, err)
	}
	return err
}

// Result reads the result of a task.
func (s *Store) Result(ctx context.Context, id string, slot int) (Result, error) {
	raw, err := s.last(ctx, s.results, s.resultSubject(id, slot))
	if err != nil {
		return Result{}, err
	}
	r := Result{ID: id, Slot: slot, Outcome: raw.Header.Get(headerOutcome), Value: raw.Data, Sequence: raw.Sequence}
	if name := raw.Header.Get(headerBlob); name != "" {
		r.Value, err = s.getBlob(ctx, name)
	}
	return r, err
}

// LastResult is the sequence of the newest result of all.
func (s *Store) LastResult(ctx context.Context) (sequence uint64, err error) {
	err = s.again(ctx, func(ctx context.Context) error {
		info, err := s.results.Info(ctx)
		if err == nil {
			sequence = info.State.LastSeq
		}
		return err
	})
	return sequence, err
}

// Follow calls each with the results under an ID, from the first, without their
// values, and with those to come, until stop is called. It survives a lost
// connection.
func (s *Store) Follow(ctx context.Context, id string, each func(Result)) (stop func(), err error) {
	prefix := s.cfg.Name + ".r." + id + "."
	var c jetstream.Consumer
	err = s.again(ctx, func(ctx context.Context) (err error) {
		c, err = s.results.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{prefix + ">"}, HeadersOnly: true})
		return err
	})
	if err != nil {
		return nil, err
	}
	running, err := c.Consume(func(m jetstream.Msg) {
		slot, err := strconv.Atoi(strings.TrimPrefix(m.Subject(), prefix))
		meta, fault := m.Metadata()
		if err != nil || fault != nil {
			return
		}
		each(Result{ID: id, Slot: slot, Outcome: m.Headers().Get(headerOutcome), Sequence: meta.Sequence.Stream})
	}, jetstream.ConsumeErrHandler(func(jetstream.ConsumeContext, error) {}))
	if err != nil {
		return nil, classify(err)
	}
	return func() {
		running.Stop()
		<-running.Closed()
	}, nil
}

// DropResults removes all results under an ID.
func (s *Store) DropResults(ctx context.Context, id string) error {
	return s.again(ctx, func(ctx context.Context) error {
		return s.results.Purge(ctx, jetstream.WithPurgeSubject(s.cfg.Name+".r."+id+".>"))
	})
}

// Notify tells all processes that something about an ID is new. It may be lost.
func (s *Store) Notify(id, word string) {
	_ = s.nc.Publish(s.cfg.Name+".n."+id, []byte(word))
}

// Listen calls each with what any process notifies, this one too, until stop is
// called.
func (s *Store) Listen(each func(id, word string)) (stop func(), err error) {
	prefix := s.cfg.Name + ".n."
	sub, err := s.nc.Subscribe(prefix+"*", func(m *nats.Msg) { each(strings.TrimPrefix(m.Subject, prefix), string(m.Data)) })
	if err != nil {
		return nil, classify(err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}
