package routing

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ErrConflict: another replica changed what is in a store meanwhile.
var ErrConflict = errors.New("routing: the rollout was changed by another replica")

// Progress is how far a rollout is, as a RolloutStore keeps it.
type Progress struct {
	// Revision is 1 for the first that was saved, and one more for each that followed.
	Revision uint64 `json:"revision"`
	// Round is how often it was restarted: what was known before counts no more.
	Round int `json:"round,omitempty"`
	// State is what the rollout does, and Reason why.
	State  RolloutState `json:"state"`
	Reason string       `json:"reason"`
	// Step is an index into the configuration's Steps, Share what it gives the canary: who
	// has other steps is at the last one that gives no more. Since is the time of the latest
	// change of State or Step.
	Step  int       `json:"step"`
	Share float64   `json:"share"`
	Since time.Time `json:"since"`
}

// RolloutStore keeps the progress of rollouts by name. It must be safe for concurrent
// use. One for replicas is in package redisstore.
type RolloutStore interface {
	// Load returns what was saved last; a Progress with Revision 0 when nothing was.
	Load(ctx context.Context, name string) (Progress, error)
	// Save puts p in place of the one with the revision before. If there is another
	// one it changes nothing and returns an error that wraps [ErrConflict].
	Save(ctx context.Context, name string, p Progress) error
}

// Restore asks the Store how far the rollout was. Until that has succeeded the canary
// gets nothing: it may have been rolled back. Run does it too, and asks again.
func (r *Rollout) Restore(ctx context.Context) error {
	r.mu.Lock()
	known := r.loaded
	r.mu.Unlock()
	if known {
		return nil
	}
	return r.load(ctx)
}

// key is its name in Store: the next canary must not be taken for this one.
func (r *Rollout) key() string { return r.cfg.Name + ":" + r.cfg.Stable + ":" + r.cfg.Canary }

// load takes over what is in the store, if that is newer.
func (r *Rollout) load(ctx context.Context) error {
	p, err := r.get(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	first := !r.loaded
	r.loaded = true
	if p.Revision > r.progress.Revision && !r.unsaved {
		r.adopt(ctx, p)
		return nil
	}
	if p.Revision < r.progress.Revision { // it forgot something: what is known here stands
		r.progress.Revision, r.unsaved = p.Revision, true
	}
	if first {
		r.publish()
	}
	r.mu.Unlock()
	return nil
}

func (r *Rollout) get(ctx context.Context) (Progress, error) {
	p, err := r.cfg.Store.Load(ctx, r.key())
	if err != nil {
		return p, fmt.Errorf("routing: rollout %q: %w", r.cfg.Name, err)
	}
	return p, nil
}

func (r *Rollout) put(ctx context.Context, p Progress) error {
	err := r.cfg.Store.Save(ctx, r.key(), p)
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrConflict) {
		r.mu.Lock()
		r.sent = p
		r.mu.Unlock()
	}
	return fmt.Errorf("routing: rollout %q: %w", r.cfg.Name, err)
}

// adopt puts another's progress in place of the own. The caller holds mu, which adopt
// unlocks.
func (r *Rollout) adopt(ctx context.Context, p Progress) {
	p.Step = 0
	for i, share := range r.cfg.Steps {
		if share <= p.Share {
			p.Step = i
		}
	}
	r.enter(p)
	r.unsaved = false
	e := r.event()
	r.mu.Unlock()
	r.notify(ctx, e)
}

// sync saves what changed here, and takes over what changed elsewhere. Of two changes
// at once the one that was saved first stands, but that rolling back always does, and
// pausing what only went on.
func (r *Rollout) sync(ctx context.Context) {
	if r.cfg.Store == nil || ctx.Err() != nil {
		return
	}
	err := r.save(ctx)
	if err == nil {
		err = r.load(ctx)
	}
	r.complain(ctx, err)
}

// lastSave bounds the saving of what changed right before the end.
const lastSave = 2 * time.Second

// leave saves what is not saved yet: who comes next must know.
func (r *Rollout) leave(ctx context.Context) {
	if r.cfg.Store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSave)
	defer cancel()
	r.complain(ctx, r.save(ctx))
}

// complain tells that the store could not be asked.
func (r *Rollout) complain(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	e := r.event()
	r.mu.Unlock()
	e.Err = err
	r.notify(ctx, e)
}

// save saves what changed here. It tries more than once: others may save meanwhile.
func (r *Rollout) save(ctx context.Context) (err error) {
	for range 3 {
		r.mu.Lock()
		known, unsaved := r.progress, r.unsaved
		r.mu.Unlock()
		if !unsaved {
			return nil
		}
		next := known
		next.Revision++
		if err = r.put(ctx, next); err == nil {
			r.mu.Lock()
			r.unsaved = r.progress != known
			r.progress.Revision = next.Revision
			r.mu.Unlock()
			continue
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		if failed := r.resolve(ctx); failed != nil {
			return failed
		}
	}
	return err
}

// resolve settles that another replica saved something first. What is still unsaved
// after that is to stand.
func (r *Rollout) resolve(ctx context.Context) error {
	theirs, err := r.get(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	own := r.progress
	switch {
	case own.State == RolledBack && theirs.State != RolledBack, theirs.Revision <= own.Revision, theirs == r.sent:
		r.progress.Revision = theirs.Revision
		r.mu.Unlock()
		return nil
	case own.State == Paused && (theirs.State == Running || theirs.State == Held):
		theirs.State, theirs.Reason = own.State, own.Reason
		r.adopt(ctx, theirs)
		r.mu.Lock()
		r.unsaved = true
		r.mu.Unlock()
		return nil
	}
	r.adopt(ctx, theirs)
	return nil
}

// NewFileStore returns a RolloutStore in a folder, a file for each rollout: for one
// process that is to go on after a restart. The folder is made when it is needed.
func NewFileStore(folder string) RolloutStore { return &fileStore{folder: folder} }

type fileStore struct {
	folder string
	mu     sync.Mutex
}

func (s *fileStore) file(name string) string {
	return filepath.Join(s.folder, fmt.Sprintf("%x.json", sha256.Sum256([]byte(name)))) // of any length
}

// Load implements RolloutStore.
func (s *fileStore) Load(ctx context.Context, name string) (Progress, error) {
	if err := ctx.Err(); err != nil {
		return Progress{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.load(name)
}

func (s *fileStore) load(name string) (p Progress, err error) {
	text, err := os.ReadFile(s.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		return Progress{}, fmt.Errorf("%s: %w", s.file(name), err)
	}
	return p, nil
}

// Save implements RolloutStore.
func (s *fileStore) Save(ctx context.Context, name string, p Progress) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.load(name)
	if err != nil {
		return err
	}
	if old.Revision != p.Revision-1 {
		return ErrConflict
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.folder, 0o750); err != nil {
		return err
	}
	unfinished := s.file(name) + ".new"
	if err := writeFile(unfinished, text); err != nil {
		return err
	}
	return os.Rename(unfinished, s.file(name))
}

// writeFile is os.WriteFile that waits for the disk: a file that is renamed before its
// text is there may be empty after a loss of power.
func writeFile(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // in a folder that the operator names
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
