package live

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/ginfer/ginfer/routing/rollout/redisstore"
)

// Rollout is a rollout at work.
type Rollout struct {
	*rollout.Rollout
	// Group is the path of its group.
	Group string

	from *progress
}

// progress is where the progress of rollouts is stored: in a directory, or in Redis, where
// replicas share it.
type progress struct{ rollout.Store }

// rolloutProgress is the store of all rollouts.
func (b *builder) rolloutProgress() (err error) {
	b.progress, err = Keep(b.g.keeper, "rollout store", []any{b.Config.RolloutDir, b.Config.Redis}, b.newProgress)
	return err
}

func (b *builder) newProgress() (Part[*progress], error) {
	cfg := b.Config.Redis
	if cfg == nil {
		return Part[*progress]{Value: &progress{rollout.NewFileStore(b.Config.RolloutDir)}}, nil
	}
	client, err := connect(cfg, redisstore.Options(cfg.Addresses...))
	if err != nil {
		return Part[*progress]{}, err
	}
	store, err := redisstore.New(redisstore.Config{Client: client, Prefix: cfg.Prefix})
	if err != nil {
		return Part[*progress]{}, errors.Join(err, client.Close())
	}
	return Part[*progress]{Value: &progress{store}, Close: func() { _ = client.Close() }, Linger: time.Minute}, nil
}

// allRollouts builds the rollouts of every group.
func (b *builder) allRollouts() error {
	b.rollouts = make(map[string][]*Rollout)
	for i := range b.Config.Groups {
		group := &b.Config.Groups[i]
		if !group.Has(config.StageRouting) {
			continue
		}
		for j := range group.Routing.Rollouts {
			r, err := b.rollout(group.Path, &group.Routing.Rollouts[j])
			if err != nil {
				b.faults.AddError("groups", err)
				return nil
			}
			b.rollouts[group.Path] = append(b.rollouts[group.Path], r)
		}
	}
	return nil
}

func (b *builder) rollout(group string, cfg *config.Rollout) (*Rollout, error) {
	name := "rollout " + cfg.ID()
	return Keep(b.g.keeper, name, []any{group, cfg, b.Config.RolloutDir, b.Config.Redis}, func() (Part[*Rollout], error) {
		library := cfg.Library()
		library.Store, library.OnEvent = b.progress, b.g.telemetry.Hooks.Rollout
		if old, ok := Previous[*Rollout](b.g.keeper, name); ok && old.from != b.progress {
			library.Store = newSuccessor(b.progress, old.Rollout)
		}
		if b.Config.Redis != nil {
			library.Replicas = b.Config.Redis.Replicas
		}
		made, err := rollout.New(library)
		if err != nil {
			return Part[*Rollout]{}, err
		}
		restore := func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			if err := made.Restore(ctx); err != nil { // Run repeats it; meanwhile the canary gets no requests
				b.g.log.Error("rollout: the store does not respond", "rollout", cfg.ID(), "error", err)
			}
		}
		// Run saves the progress before it returns.
		return Part[*Rollout]{Value: &Rollout{made, group, b.progress}, Restore: restore, Run: []func(context.Context) error{made.Run}}, nil
	})
}

// successor is a new store that takes over the progress of a rollout from its previous store,
// so that a canary that was rolled back stays so.
type successor struct {
	rollout.Store
	before atomic.Pointer[rollout.Rollout] // nil: the store has it by now
}

func newSuccessor(store rollout.Store, before *rollout.Rollout) *successor {
	s := &successor{Store: store}
	s.before.Store(before)
	return s
}

func (s *successor) Load(ctx context.Context, name string) (rollout.Progress, error) {
	p, err := s.Store.Load(ctx, name)
	before := s.before.Load()
	if err != nil || before == nil {
		return p, err
	}
	was := before.Status()
	unread := was.State == rollout.Running && was.Share == 0
	if p.Revision == 0 && !unread && name == was.Name+":"+was.Stable+":"+was.Canary {
		p = rollout.Progress{Revision: 1, State: was.State, Reason: was.Reason, Step: was.Step, Share: was.Share, Since: was.Since}
		if err = s.Save(ctx, name, p); errors.Is(err, rollout.ErrConflict) { // another replica did it
			p, err = s.Store.Load(ctx, name)
		}
	}
	if err == nil {
		s.before.Store(nil)
	}
	return p, err
}

// feedback accepts verdicts of users: {"model": "demo", "good": false}, sent to
// GROUP/feedback, counts for the version that the user has.
func feedback(cfg *config.Group) gin.HandlerFunc {
	path := strings.TrimSuffix(cfg.Path, "/") + "/feedback"
	return func(c *gin.Context) {
		if c.Request.URL.Path != path || c.Request.Method != http.MethodPost {
			return
		}
		var verdict struct {
			Good *bool `json:"good"`
		}
		body := http.MaxBytesReader(c.Writer, c.Request.Body, 64<<10)
		if json.NewDecoder(body).Decode(&verdict) != nil || verdict.Good == nil {
			apierror.Abort(c, &apierror.Error{Status: http.StatusBadRequest, Code: "invalid_feedback", Message: `Send {"model": "…", "good": true} or false.`})
			return
		}
		c.AbortWithStatusJSON(http.StatusOK, gin.H{"counted": rollout.Judge(c.Request.Context(), *verdict.Good)})
	}
}

// AllRollouts returns the rollouts in the order of the configuration.
func (a *App) AllRollouts() []*Rollout {
	var rows []*Rollout
	if a != nil {
		for _, group := range a.Groups {
			rows = append(rows, group.Rollouts...)
		}
	}
	return rows
}

func (a *App) rolloutStates() []rollout.Status {
	var states []rollout.Status
	for _, r := range a.AllRollouts() {
		states = append(states, r.Status())
	}
	return states
}
