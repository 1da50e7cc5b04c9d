package jet

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config says what to keep, and how much of it. Nothing has a default here.
type Config struct {
	// Name begins the name of every stream and subject.
	Name string
	// Replicas is on how many servers everything is kept.
	Replicas int
	// MaxTasks and MaxPerLane bound the tasks that are not done.
	MaxTasks, MaxPerLane int64
	// MaxBytes bounds the files and the results, each; -1: not.
	MaxBytes int64
	// Lease is how long a task belongs to a worker that says nothing.
	Lease time.Duration
	// Window is how long the ID of a published message is remembered.
	Window time.Duration
	// RecordTTL, FileTTL and DeadTTL are how long things are kept.
	RecordTTL, FileTTL, DeadTTL time.Duration
	// MaxDead bounds the dead letters; the oldest make room.
	MaxDead int64
}

// Store is a queue's memory. It is safe for concurrent use.
type Store struct {
	cfg Config
	nc  *nats.Conn
	js  jetstream.JetStream

	work, control, results, files, dead, records jetstream.Stream
	state                                        jetstream.KeyValue // over records

	mu        sync.Mutex
	consumers map[Lane]jetstream.Consumer
}

// Open makes the streams, or brings them to what cfg says.
func Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Store, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096), jetstream.WithDefaultTimeout(perTry))
	if err != nil {
		return nil, classify(err)
	}
	s := &Store{cfg: cfg, nc: nc, js: js, consumers: map[Lane]jetstream.Consumer{}}
	for _, p := range s.plan() {
		if err := s.make(ctx, func(ctx context.Context) (err error) {
			*p.into, err = js.CreateOrUpdateStream(ctx, p.StreamConfig)
			return err
		}); err != nil {
			return nil, fmt.Errorf("stream %s: %w", p.Name, err)
		}
	}
	return s, s.openState(ctx)
}

// make is again for what must not be left half done: a server that ends while it makes a
// stream may not end it.
func (s *Store) make(ctx context.Context, call func(context.Context) error) error {
	return s.again(ctx, func(ctx context.Context) error { return once(context.WithoutCancel(ctx), call) })
}

// planned is a stream to be made.
type planned struct {
	jetstream.StreamConfig
	into *jetstream.Stream
}

func (s *Store) plan() []planned {
	c := &s.cfg
	return []planned{
		{jetstream.StreamConfig{
			Name: c.Name + "_work", Subjects: []string{c.Name + ".w.>"}, Retention: jetstream.WorkQueuePolicy, Replicas: c.Replicas,
			Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, MaxMsgs: c.MaxTasks, MaxMsgsPerSubject: c.MaxPerLane,
			Duplicates: c.Window, AllowDirect: true,
		}, &s.work},
		{jetstream.StreamConfig{
			Name: c.Name + "_control", Subjects: []string{c.Name + ".c.>"}, Retention: jetstream.WorkQueuePolicy, Replicas: c.Replicas,
			Discard: jetstream.DiscardNew, MaxMsgs: c.MaxTasks, Duplicates: c.Window, AllowDirect: true,
		}, &s.control},
		{jetstream.StreamConfig{
			Name: c.Name + "_results", Subjects: []string{c.Name + ".r.>"}, Replicas: c.Replicas, Discard: jetstream.DiscardNew,
			MaxMsgsPerSubject: 1, MaxBytes: c.MaxBytes, MaxAge: c.RecordTTL, Duplicates: min(c.Window, c.RecordTTL), AllowDirect: true,
		}, &s.results},
		{jetstream.StreamConfig{
			Name: c.Name + "_files", Subjects: []string{c.Name + ".f.>"}, Replicas: c.Replicas, Discard: jetstream.DiscardNew,
			MaxMsgsPerSubject: 1, MaxBytes: c.MaxBytes, MaxAge: c.FileTTL, Duplicates: min(c.Window, c.FileTTL), AllowDirect: true,
		}, &s.files},
		{jetstream.StreamConfig{
			Name: c.Name + "_dead", Subjects: []string{c.Name + ".d.>"}, Replicas: c.Replicas, Discard: jetstream.DiscardOld,
			MaxMsgs: c.MaxDead, MaxAge: c.DeadTTL, Duplicates: min(c.Window, c.DeadTTL), AllowDirect: true,
		}, &s.dead},
	}
}

func (s *Store) openState(ctx context.Context) error {
	return s.make(ctx, func(ctx context.Context) (err error) {
		s.state, err = s.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: s.cfg.Name + "_state", TTL: s.cfg.RecordTTL, Replicas: s.cfg.Replicas})
		if err == nil {
			s.records, err = s.js.Stream(ctx, "KV_"+s.cfg.Name+"_state")
		}
		return err
	})
}

// Lease is how long a task belongs to a worker that says nothing.
func (s *Store) Lease() time.Duration { return s.cfg.Lease }

// inline is the longest payload that is sent within a message.
func (s *Store) inline() int { return min(int(s.nc.MaxPayload())-16<<10, 512<<10) }

// Usage is how much there is.
type Usage struct {
	// Tasks are not done yet; Dead are the dead letters.
	Tasks, Dead uint64
	// Lanes are the tasks of each lane that has any.
	Lanes map[Lane]uint64
	// Results, ResultBytes and FileBytes are kept.
	Results, ResultBytes, FileBytes uint64
}

// Usage counts everything.
func (s *Store) Usage(ctx context.Context) (Usage, error) {
	var u Usage
	lanes, err := s.Lanes(ctx)
	if err != nil {
		return u, err
	}
	u.Lanes = lanes
	for _, n := range lanes {
		u.Tasks += n
	}
	err = s.again(ctx, func(ctx context.Context) error {
		dead, err := s.dead.Info(ctx)
		if err != nil {
			return err
		}
		results, err := s.results.Info(ctx)
		if err != nil {
			return err
		}
		files, err := s.files.Info(ctx)
		if err != nil {
			return err
		}
		u.Dead, u.Results, u.ResultBytes, u.FileBytes = dead.State.Msgs, results.State.Msgs, results.State.Bytes, files.State.Bytes
		return nil
	})
	return u, err
}
