package jet

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Lane is where the tasks of one tenant and class wait, first in, first out.
type Lane struct {
	// Class is the priority: 0 is the first.
	Class int
	// Tenant is any text.
	Tenant string
}

func (l Lane) subject(name string) string {
	return name + ".w." + strconv.Itoa(l.Class) + "." + Encode(l.Tenant)
}

// laneOf reads a subject.
func laneOf(name, subject string) (Lane, bool) {
	class, tenant, ok := strings.Cut(strings.TrimPrefix(subject, name+".w."), ".")
	n, err := strconv.Atoi(class)
	if !ok || err != nil {
		return Lane{}, false
	}
	return Lane{n, decode(tenant, "")}, true
}

// Encode makes any text one token of a key or subject.
func Encode(text string) string { return "=" + base64.RawURLEncoding.EncodeToString([]byte(text)) }

// decode reads what Encode wrote, after a prefix.
func decode(token, prefix string) string {
	text, _ := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(strings.TrimPrefix(token, prefix), "="))
	return string(text)
}

// idle is how long a lane that nobody asks keeps its place.
const idle = 10 * time.Minute

// headerBlob names the object that holds a message's payload.
const headerBlob = "Ginfer-Blob"

// Publish adds a task to a lane, unless one of the same ID was added within the
// window. It returns ErrFull or ErrLaneFull when there is no room.
func (s *Store) Publish(ctx context.Context, lane Lane, id string, payload []byte) error {
	m, err := s.message(ctx, lane.subject(s.cfg.Name), id, payload)
	if err != nil {
		return err
	}
	return s.publish(ctx, m)
}

// message makes a message, and puts its payload aside when it is too long for it.
func (s *Store) message(ctx context.Context, subject, id string, payload []byte) (*nats.Msg, error) {
	m := nats.NewMsg(subject)
	if id != "" {
		m.Header.Set(jetstream.MsgIDHeader, id)
	}
	if len(payload) <= s.inline() {
		m.Data = payload
		return m, nil
	}
	name, err := s.putBlob(ctx, payload)
	if err != nil {
		return nil, err
	}
	m.Header.Set(headerBlob, name)
	return m, nil
}

func (s *Store) publish(ctx context.Context, m *nats.Msg) error {
	duplicate := false
	err := s.again(ctx, func(ctx context.Context) error {
		ack, err := s.js.PublishMsg(ctx, m)
		duplicate = err == nil && ack.Duplicate
		return err
	})
	if err != nil && !errors.Is(err, ErrUnavailable) || duplicate {
		s.dropBlob(ctx, m.Header.Get(headerBlob)) // nobody refers to it
	}
	return err
}

// Task is one of several that are published together.
type Task struct {
	ID      string
	Payload []byte
}

// PublishAll adds tasks in order and returns how many of the first are surely
// there. It is Publish without a wait after each.
func (s *Store) PublishAll(ctx context.Context, lane Lane, tasks []Task) (int, error) {
	futures := make([]jetstream.PubAckFuture, 0, len(tasks))
	var first error
	for i := range tasks {
		m, err := s.message(ctx, lane.subject(s.cfg.Name), tasks[i].ID, tasks[i].Payload)
		if err != nil {
			first = err
			break
		}
		f, err := s.js.PublishMsgAsync(m)
		if err != nil {
			first = classify(err)
			break
		}
		futures = append(futures, f)
	}
	for i, f := range futures {
		if err := await(ctx, f); err != nil {
			return i, err
		}
	}
	return len(futures), first
}

func await(ctx context.Context, f jetstream.PubAckFuture) error {
	t := time.NewTimer(2 * perTry)
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

// Lanes counts the tasks of each lane, waiting or under way.
func (s *Store) Lanes(ctx context.Context) (map[Lane]uint64, error) {
	lanes := map[Lane]uint64{}
	err := s.again(ctx, func(ctx context.Context) error {
		clear(lanes)
		info, err := s.work.Info(ctx, jetstream.WithSubjectFilter(s.cfg.Name+".w.>"))
		if err != nil {
			return err
		}
		for subject, n := range info.State.Subjects {
			if lane, ok := laneOf(s.cfg.Name, subject); ok {
				lanes[lane] = n
			}
		}
		return nil
	})
	return lanes, err
}

// Fetch takes up to n tasks that are there now. Each must be ended, or comes again
// after the lease.
func (s *Store) Fetch(ctx context.Context, lane Lane, n int) ([]*Delivery, error) {
	c, err := s.consumer(ctx, lane)
	if err != nil {
		return nil, err
	}
	batch, err := c.FetchNoWait(n)
	if err != nil {
		return nil, classify(err)
	}
	all := s.collect(batch)
	if err := batch.Error(); err != nil && len(all) == 0 {
		s.forget(lane) // it may be gone: one that nobody asks is deleted
		if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrConsumerDeleted) {
			return nil, nil
		}
		return nil, classify(err)
	}
	return all, nil
}

func (s *Store) collect(batch jetstream.MessageBatch) []*Delivery {
	var all []*Delivery
	for m := range batch.Messages() {
		all = append(all, s.delivery(m))
	}
	return all
}

// consumer is the lane's, shared by all processes.
func (s *Store) consumer(ctx context.Context, lane Lane) (jetstream.Consumer, error) {
	s.mu.Lock()
	c, ok := s.consumers[lane]
	s.mu.Unlock()
	if ok {
		return c, nil
	}
	subject := lane.subject(s.cfg.Name)
	sum := sha256.Sum256([]byte(subject))
	err := s.again(ctx, func(ctx context.Context) (err error) {
		c, err = s.work.CreateOrUpdateConsumer(ctx, s.consumerConfig(hex.EncodeToString(sum[:12]), subject))
		return err
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.consumers[lane] = c
	return c, nil
}

// consumerConfig has no MaxDeliver: the server would leave what is past it lying.
func (s *Store) consumerConfig(name, subject string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: name, FilterSubject: subject, AckPolicy: jetstream.AckExplicitPolicy, AckWait: s.cfg.Lease,
		MaxDeliver: -1, MaxAckPending: -1, InactiveThreshold: idle,
	}
}

// forget drops what is known of a lane's consumer.
func (s *Store) forget(lane Lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.consumers, lane)
}

// Forget drops what is known of lanes that have no task.
func (s *Store) Forget(lanes map[Lane]uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for lane := range s.consumers {
		if lanes[lane] == 0 {
			delete(s.consumers, lane)
		}
	}
}
