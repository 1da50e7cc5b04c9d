package jet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Create writes a record that must not exist. After a failure it may exist all the
// same.
func (s *Store) Create(ctx context.Context, key string, value []byte) (revision uint64, err error) {
	err = s.again(ctx, func(ctx context.Context) (err error) {
		revision, err = s.state.Create(ctx, key, value)
		return err
	})
	if errors.Is(err, ErrConflict) {
		err = fmt.Errorf("%w: %w", ErrExists, err)
	}
	return revision, err
}

// Get reads a record. One that was just written, by anybody, is found.
func (s *Store) Get(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	err = s.again(ctx, func(ctx context.Context) error {
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

// GetNewest is Get from the server that also takes the writes: others may be a
// little behind.
func (s *Store) GetNewest(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	m, err := s.newest(ctx, s.records, s.recordSubject(key))
	if err != nil {
		return nil, 0, err
	}
	return m.Data, m.Sequence, nil
}

// last reads the last message of a subject.
func (s *Store) last(ctx context.Context, in jetstream.Stream, subject string) (m *jetstream.RawStreamMsg, err error) {
	err = s.again(ctx, func(ctx context.Context) (err error) {
		m, err = in.GetLastMsgForSubject(ctx, subject)
		return err
	})
	if errors.Is(err, ErrNotFound) && s.cfg.Replicas > 1 {
		return s.newest(ctx, in, subject)
	}
	return m, err
}

// newest asks the leader of a stream, which the client does only for streams
// without direct reads.
func (s *Store) newest(ctx context.Context, in jetstream.Stream, subject string) (*jetstream.RawStreamMsg, error) {
	ask, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return nil, err
	}
	var m *jetstream.RawStreamMsg
	err = s.again(ctx, func(ctx context.Context) error {
		reply, err := s.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+in.CachedInfo().Config.Name, ask)
		if err == nil {
			m, err = readReply(reply.Data)
		}
		return err
	})
	return m, err
}

func readReply(data []byte) (*jetstream.RawStreamMsg, error) {
	var reply struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Seq  uint64 `json:"seq"`
			Hdrs []byte `json:"hdrs"`
			Data []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(data, &reply); err != nil {
		return nil, err
	}
	if reply.Error != nil {
		return nil, reply.Error
	}
	if reply.Message == nil {
		return nil, jetstream.ErrMsgNotFound
	}
	m := &jetstream.RawStreamMsg{Sequence: reply.Message.Seq, Data: reply.Message.Data}
	if len(reply.Message.Hdrs) > 0 {
		h, err := nats.DecodeHeadersMsg(reply.Message.Hdrs)
		if err != nil {
			return nil, err
		}
		m.Header = h
	}
	return m, nil
}

// Update writes a record if it is still at the revision.
func (s *Store) Update(ctx context.Context, key string, value []byte, revision uint64) (next uint64, err error) {
	err = s.again(ctx, func(ctx context.Context) (err error) {
		next, err = s.state.Update(ctx, key, value, revision)
		return err
	})
	return next, err
}

// Put writes a record, whatever it was.
func (s *Store) Put(ctx context.Context, key string, value []byte) error {
	return s.again(ctx, func(ctx context.Context) error {
		_, err := s.state.Put(ctx, key, value)
		return err
	})
}

// Delete removes a record, and leaves no marker in its place. It need not exist.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.again(ctx, func(ctx context.Context) error {
		return s.records.Purge(ctx, jetstream.WithPurgeSubject(s.recordSubject(key)))
	})
}

func (s *Store) recordSubject(key string) string { return "$KV." + s.cfg.Name + "_state." + key }

// Keys lists the keys under a prefix, which ends before a dot. (The client's own list
// misses those that are written at this moment.)
func (s *Store) Keys(ctx context.Context, prefix string) (keys []string, err error) {
	err = s.again(ctx, func(ctx context.Context) error {
		info, err := s.records.Info(ctx, jetstream.WithSubjectFilter(s.recordSubject(prefix+".>")))
		if err != nil {
			return err
		}
		keys = make([]string, 0, len(info.State.Subjects))
		for subject := range info.State.Subjects {
			keys = append(keys, strings.TrimPrefix(subject, s.recordSubject("")))
		}
		return nil
	})
	return keys, err
}
