package jet

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Records are changed by compare-and-swap. They expire after RecordTTL.
type Records struct {
	*conn
	stream jetstream.Stream
	state  jetstream.KeyValue // over stream
}

func (s *Records) open(ctx context.Context) error {
	return s.create(ctx, func(ctx context.Context) (err error) {
		s.state, err = s.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: s.cfg.Name + "_state", TTL: s.cfg.RecordTTL, Replicas: s.cfg.Replicas})
		if err == nil {
			s.stream, err = s.js.Stream(ctx, "KV_"+s.cfg.Name+"_state")
		}
		return err
	})
}

// Create writes a record that must not exist. After an error it may exist all the
// same.
func (s *Records) Create(ctx context.Context, key string, value []byte) (revision uint64, err error) {
	err = s.retry(ctx, func(ctx context.Context) (err error) {
		revision, err = s.state.Create(ctx, key, value)
		return err
	})
	if errors.Is(err, ErrConflict) {
		err = fmt.Errorf("%w: %w", ErrExists, err)
	}
	return revision, err
}

// Get reads a record. It finds one that any process has just written.
func (s *Records) Get(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	err = s.retry(ctx, func(ctx context.Context) error {
		e, err := s.state.Get(ctx, key)
		if err == nil {
			value, revision = e.Value(), e.Revision()
		}
		return err
	})
	if errors.Is(err, ErrNotFound) && s.cfg.Replicas > 1 {
		return s.GetNewest(ctx, key)
	}
	return value, revision, err
}

// GetNewest is Get from the server that also takes the writes. Others may be a little
// behind.
func (s *Records) GetNewest(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	m, err := s.newest(ctx, s.stream, s.subject(key))
	if err != nil {
		return nil, 0, err
	}
	return m.Data, m.Sequence, nil
}

// Update writes a record if it is still at the revision.
func (s *Records) Update(ctx context.Context, key string, value []byte, revision uint64) (next uint64, err error) {
	err = s.retry(ctx, func(ctx context.Context) (err error) {
		next, err = s.state.Update(ctx, key, value, revision)
		return err
	})
	return next, err
}

// Put writes a record unconditionally.
func (s *Records) Put(ctx context.Context, key string, value []byte) error {
	return s.retry(ctx, func(ctx context.Context) error {
		_, err := s.state.Put(ctx, key, value)
		return err
	})
}

// Delete removes a record, and leaves no marker in its place. It need not exist.
func (s *Records) Delete(ctx context.Context, key string) error {
	return s.retry(ctx, func(ctx context.Context) error {
		return s.stream.Purge(ctx, jetstream.WithPurgeSubject(s.subject(key)))
	})
}

func (s *Records) subject(key string) string { return "$KV." + s.cfg.Name + "_state." + key }

// Keys lists the keys under a prefix, which ends before a dot. (The client's own list
// misses keys that are written concurrently.)
func (s *Records) Keys(ctx context.Context, prefix string) (keys []string, err error) {
	err = s.retry(ctx, func(ctx context.Context) error {
		info, err := s.stream.Info(ctx, jetstream.WithSubjectFilter(s.subject(prefix+".>")))
		if err != nil {
			return err
		}
		keys = make([]string, 0, len(info.State.Subjects))
		for subject := range info.State.Subjects {
			keys = append(keys, strings.TrimPrefix(subject, s.subject("")))
		}
		return nil
	})
	return keys, err
}
