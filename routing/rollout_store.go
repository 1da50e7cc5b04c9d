package routing

import (
	"context"
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
	// State is what the rollout does, and Reason why.
	State  RolloutState `json:"state"`
	Reason string       `json:"reason"`
	// Step is an index into the configuration's Steps. Since is the time of the latest
	// change of State or Step.
	Step  int       `json:"step"`
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

// load takes over what is in the store, if that is newer.
func (r *Rollout) load(ctx context.Context) error {
	p, err := r.cfg.Store.Load(ctx, r.cfg.Name)
	if err != nil {
		return fmt.Errorf("routing: rollout %q: %w", r.cfg.Name, err)
	}
	r.mu.Lock()
	first := !r.loaded
	r.loaded = true
	if p.Revision == r.progress.Revision || r.unsaved { // it is known, or is not to stand
		if first {
			r.publish()
		}
		r.mu.Unlock()
		return nil
	}
	r.adopt(ctx, p)
	return nil
}

// adopt puts another progress in place of the own. The caller holds mu, which adopt
// unlocks.
func (r *Rollout) adopt(ctx context.Context, p Progress) {
	p.Step = min(max(p.Step, 0), len(r.cfg.Steps)-1) // it may have had other steps
	if p.Step != r.progress.Step || p.State != RolledBack && r.progress.State == RolledBack {
		r.evidence.begin(p.Step, p.Step <= r.progress.Step)
	}
	r.progress, r.unsaved = p, false
	r.publish()
	e := RolloutEvent{Name: r.cfg.Name, State: p.State, Share: r.share(), Reason: p.Reason}
	r.mu.Unlock()
	r.notify(ctx, e)
}

// sync saves what changed here, and takes over what changed elsewhere. Of two changes
// at once the one that was saved first stands, but that rolling back always does.
func (r *Rollout) sync(ctx context.Context) {
	if r.cfg.Store == nil || ctx.Err() != nil {
		return
	}
	err := r.save(ctx)
	if err == nil {
		err = r.load(ctx)
	}
	if err != nil && ctx.Err() == nil {
		s := r.Status()
		r.notify(ctx, RolloutEvent{Name: s.Name, State: s.State, Share: s.Share, Reason: s.Reason, Err: err})
	}
}

func (r *Rollout) save(ctx context.Context) error {
	r.mu.Lock()
	if !r.unsaved {
		r.mu.Unlock()
		return nil
	}
	known := r.progress
	r.mu.Unlock()
	next := known
	next.Revision++
	err := r.cfg.Store.Save(ctx, r.cfg.Name, next)
	switch {
	case errors.Is(err, ErrConflict):
		return r.resolve(ctx)
	case err != nil:
		return fmt.Errorf("routing: rollout %q: %w", r.cfg.Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsaved = r.progress != known
	r.progress.Revision = next.Revision
	return nil
}

// resolve settles that another replica saved something first.
func (r *Rollout) resolve(ctx context.Context) error {
	theirs, err := r.cfg.Store.Load(ctx, r.cfg.Name)
	if err != nil {
		return fmt.Errorf("routing: rollout %q: %w", r.cfg.Name, err)
	}
	r.mu.Lock()
	if r.progress.State != RolledBack || theirs.State == RolledBack {
		r.adopt(ctx, theirs)
		return nil
	}
	r.progress.Revision = theirs.Revision
	r.mu.Unlock()
	return r.save(ctx)
}

// NewFileStore returns a RolloutStore in a folder, a file for each rollout: for one
// process that is to go on after a restart. The folder is made when it is needed.
func NewFileStore(folder string) RolloutStore { return &fileStore{folder: folder} }

type fileStore struct {
	folder string
	mu     sync.Mutex
}

func (s *fileStore) file(name string) string {
	return filepath.Join(s.folder, fmt.Sprintf("%x.json", name))
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
	if err := os.WriteFile(unfinished, text, 0o600); err != nil {
		return err
	}
	return os.Rename(unfinished, s.file(name))
}
