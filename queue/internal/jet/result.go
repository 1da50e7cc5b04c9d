package jet

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// headerOutcome can be read without the value.
const headerOutcome = "Ginfer-Outcome"

// Result is the result of one task. It is written once.
type Result struct {
	// ID and Slot identify it: a batch and a line, or a job and its round.
	ID   string
	Slot int
	// Outcome is a word of the caller's.
	Outcome string
	// Value is the content. [Results.Follow] leaves it out.
	Value []byte
	// Sequence orders all results.
	Sequence uint64
}

// Results are written once.
type Results struct {
	*outbox
	stream jetstream.Stream
}

func (s *Results) subject(id string, slot int) string {
	return s.cfg.Name + ".r." + id + "." + strconv.Itoa(slot)
}

// Commit writes the result of a task. It returns ErrExists if the task has one, and
// discards r.
func (s *Results) Commit(ctx context.Context, r Result) error {
	m, err := s.message(ctx, s.subject(r.ID, r.Slot), "", r.Value)
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

// Get reads the result of a task.
func (s *Results) Get(ctx context.Context, id string, slot int) (Result, error) {
	raw, err := s.last(ctx, s.stream, s.subject(id, slot))
	if err != nil {
		return Result{}, err
	}
	r := Result{ID: id, Slot: slot, Outcome: raw.Header.Get(headerOutcome), Value: raw.Data, Sequence: raw.Sequence}
	if name := raw.Header.Get(headerBlob); name != "" {
		r.Value, err = s.files.getBlob(ctx, name)
	}
	return r, err
}

// Last returns the sequence of the newest result.
func (s *Results) Last(ctx context.Context) (sequence uint64, err error) {
	err = s.retry(ctx, func(ctx context.Context) error {
		info, err := s.stream.Info(ctx)
		if err == nil {
			sequence = info.State.LastSeq
		}
		return err
	})
	return sequence, err
}

// Follow calls each with the results under an ID, those stored and those to come,
// without their values, until stop is called. It survives a lost connection.
func (s *Results) Follow(ctx context.Context, id string, each func(Result)) (stop func(), err error) {
	prefix := s.cfg.Name + ".r." + id + "."
	var c jetstream.Consumer
	err = s.retry(ctx, func(ctx context.Context) (err error) {
		c, err = s.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{prefix + ">"}, HeadersOnly: true})
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

// Drop removes all results under an ID.
func (s *Results) Drop(ctx context.Context, id string) error {
	return s.retry(ctx, func(ctx context.Context) error {
		return s.stream.Purge(ctx, jetstream.WithPurgeSubject(s.cfg.Name+".r."+id+".>"))
	})
}
