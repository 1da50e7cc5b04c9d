package jet

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Lane is the FIFO queue of one tenant and class.
type Lane struct {
	// Class is the priority: 0 is the highest.
	Class int
	// Tenant is any text.
	Tenant string
}

func (l Lane) subject(name string) string {
	return name + ".w." + strconv.Itoa(l.Class) + "." + Encode(l.Tenant)
}

// laneOf parses a subject.
func laneOf(name, subject string) (Lane, bool) {
	class, tenant, ok := strings.Cut(strings.TrimPrefix(subject, name+".w."), ".")
	n, err := strconv.Atoi(class)
	if !ok || err != nil {
		return Lane{}, false
	}
	return Lane{n, decode(tenant, "")}, true
}

// Encode encodes any text as one token of a key or subject.
func Encode(text string) string { return "=" + base64.RawURLEncoding.EncodeToString([]byte(text)) }

// decode reverses Encode, after a prefix.
func decode(token, prefix string) string {
	text, _ := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(strings.TrimPrefix(token, prefix), "="))
	return string(text)
}

// idle is how long the server keeps the consumer of a lane that is not fetched from.
const idle = 10 * time.Minute

// Tasks are the lanes of the work queue.
type Tasks struct {
	*outbox
	stream jetstream.Stream

	mu        sync.Mutex
	consumers map[Lane]jetstream.Consumer
}

// Publish adds a task to a lane, unless one with the same ID was added within the
// window. It returns ErrFull or ErrLaneFull when there is no room.
func (s *Tasks) Publish(ctx context.Context, lane Lane, id string, payload []byte) error {
	m, err := s.message(ctx, lane.subject(s.cfg.Name), id, payload)
	if err != nil {
		return err
	}
	return s.publish(ctx, m)
}

// Task is one of several tasks that are published together.
type Task struct {
	ID      string
	Payload []byte
}

// PublishAll adds tasks in order and returns how many of the first are stored. Unlike
// Publish it does not wait after each.
func (s *Tasks) PublishAll(ctx context.Context, lane Lane, tasks []Task) (int, error) {
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

// Lanes counts the tasks of each lane, waiting or running.
func (s *Tasks) Lanes(ctx context.Context) (map[Lane]uint64, error) {
	lanes := map[Lane]uint64{}
	err := s.retry(ctx, func(ctx context.Context) error {
		clear(lanes)
		info, err := s.stream.Info(ctx, jetstream.WithSubjectFilter(s.cfg.Name+".w.>"))
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

// Fetch takes up to n tasks that are ready. Each must be acknowledged, or it is
// delivered again after the lease.
func (s *Tasks) Fetch(ctx context.Context, lane Lane, n int) ([]*Delivery, error) {
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
		s.forget(lane) // an idle consumer is deleted
		if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrConsumerDeleted) {
			return nil, nil
		}
		return nil, classify(err)
	}
	return all, nil
}

// consumer returns the consumer of a lane, which all processes share.
func (s *Tasks) consumer(ctx context.Context, lane Lane) (jetstream.Consumer, error) {
	s.mu.Lock()
	c, ok := s.consumers[lane]
	s.mu.Unlock()
	if ok {
		return c, nil
	}
	subject := lane.subject(s.cfg.Name)
	sum := sha256.Sum256([]byte(subject))
	err := s.retry(ctx, func(ctx context.Context) (err error) {
		c, err = s.stream.CreateOrUpdateConsumer(ctx, s.consumerConfig(hex.EncodeToString(sum[:12]), subject))
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

// forget drops the consumer of a lane.
func (s *Tasks) forget(lane Lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.consumers, lane)
}

// Forget drops the consumers of lanes without tasks.
func (s *Tasks) Forget(lanes map[Lane]uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for lane := range s.consumers {
		if lanes[lane] == 0 {
			delete(s.consumers, lane)
		}
	}
}
