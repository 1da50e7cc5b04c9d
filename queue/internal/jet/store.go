package jet

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config configures a Store. No field has a default.
type Config struct {
	// Name begins the name of every stream and subject.
	Name string
	// Replicas is the number of servers that store everything.
	Replicas int
	// MaxTasks and MaxPerLane bound the unfinished tasks, in total and per lane.
	MaxTasks, MaxPerLane int64
	// MaxBytes bounds the files and the results, each, in bytes; -1 means no bound.
	MaxBytes int64
	// Lease is how long a task belongs to a worker that does not extend it.
	Lease time.Duration
	// Window is how long the ID of a published message is remembered.
	Window time.Duration
	// RecordTTL, FileTTL and DeadTTL are how long records and results, files, and
	// dead letters are stored.
	RecordTTL, FileTTL, DeadTTL time.Duration
	// MaxDead bounds the dead letters. The oldest make room for new ones.
	MaxDead int64
}

// Store is the durable state of a queue. It is safe for concurrent use.
type Store struct {
	// Tasks are the lanes of the work queue.
	Tasks *Tasks
	// Channels are the work queues beside the lanes.
	Channels *Channels
	// Records are changed by compare-and-swap.
	Records *Records
	// Results are written once.
	Results *Results
	// Files are the files, and the payloads too large for a message.
	Files *Files
	// Letters are the dead letters.
	Letters *Letters

	*conn
}

// Open creates the streams, or updates them to cfg.
func Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Store, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096), jetstream.WithDefaultTimeout(attemptTimeout))
	if err != nil {
		return nil, classify(err)
	}
	c := &conn{cfg: cfg, nc: nc, js: js}
	files := &Files{conn: c}
	out := &outbox{conn: c, files: files}
	s := &Store{
		conn: c, Files: files, Records: &Records{conn: c}, Results: &Results{outbox: out}, Letters: &Letters{outbox: out},
		Channels: &Channels{outbox: out}, Tasks: &Tasks{outbox: out, consumers: map[Lane]jetstream.Consumer{}},
	}
	out.letters = s.Letters
	for _, p := range s.plan() {
		if err := c.create(ctx, func(ctx context.Context) (err error) {
			*p.into, err = js.CreateOrUpdateStream(ctx, p.StreamConfig)
			return err
		}); err != nil {
			return nil, fmt.Errorf("stream %s: %w", p.Name, err)
		}
	}
	return s, s.Records.open(ctx)
}

// planned is a stream to be created.
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
		}, &s.Tasks.stream},
		{jetstream.StreamConfig{
			Name: c.Name + "_control", Subjects: []string{c.Name + ".c.>"}, Retention: jetstream.WorkQueuePolicy, Replicas: c.Replicas,
			Discard: jetstream.DiscardNew, MaxMsgs: c.MaxTasks, Duplicates: c.Window, AllowDirect: true,
		}, &s.Channels.stream},
		{jetstream.StreamConfig{
			Name: c.Name + "_results", Subjects: []string{c.Name + ".r.>"}, Replicas: c.Replicas, Discard: jetstream.DiscardNew,
			MaxMsgsPerSubject: 1, MaxBytes: c.MaxBytes, MaxAge: c.RecordTTL, Duplicates: min(c.Window, c.RecordTTL), AllowDirect: true,
		}, &s.Results.stream},
		{jetstream.StreamConfig{
			Name: c.Name + "_files", Subjects: []string{c.Name + ".f.>"}, Replicas: c.Replicas, Discard: jetstream.DiscardNew,
			MaxMsgsPerSubject: 1, MaxBytes: c.MaxBytes, MaxAge: c.FileTTL, Duplicates: min(c.Window, c.FileTTL), AllowDirect: true,
		}, &s.Files.stream},
		{jetstream.StreamConfig{
			Name: c.Name + "_dead", Subjects: []string{c.Name + ".d.>"}, Replicas: c.Replicas, Discard: jetstream.DiscardOld,
			MaxMsgs: c.MaxDead, MaxAge: c.DeadTTL, Duplicates: min(c.Window, c.DeadTTL), AllowDirect: true,
		}, &s.Letters.stream},
	}
}

// Lease is how long a task belongs to a worker that does not extend it.
func (s *Store) Lease() time.Duration { return s.cfg.Lease }

// Usage counts what is stored.
type Usage struct {
	// Tasks are the unfinished tasks; Dead the dead letters.
	Tasks, Dead uint64
	// Lanes are the tasks of each lane that has any.
	Lanes map[Lane]uint64
	// Results, ResultBytes and FileBytes are stored.
	Results, ResultBytes, FileBytes uint64
}

// Usage counts everything.
func (s *Store) Usage(ctx context.Context) (Usage, error) {
	var u Usage
	lanes, err := s.Tasks.Lanes(ctx)
	if err != nil {
		return u, err
	}
	u.Lanes = lanes
	for _, n := range lanes {
		u.Tasks += n
	}
	err = s.retry(ctx, func(ctx context.Context) error {
		dead, err := s.Letters.stream.Info(ctx)
		if err != nil {
			return err
		}
		results, err := s.Results.stream.Info(ctx)
		if err != nil {
			return err
		}
		files, err := s.Files.stream.Info(ctx)
		if err != nil {
			return err
		}
		u.Dead, u.Results, u.ResultBytes, u.FileBytes = dead.State.Msgs, results.State.Msgs, results.State.Bytes, files.State.Bytes
		return nil
	})
	return u, err
}
