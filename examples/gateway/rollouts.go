package main

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
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/ginfer/ginfer/routing/rollout/redisstore"
)

// runningRollout is a rollout at work. It outlives a reload that does not change it.
type runningRollout struct {
	*rollout.Rollout
	group string
	key   string // what it was made of
	from  *progress
	stop  func() // returns when what it knows is saved
}

// progress is where it is kept how far rollouts are: in a folder, or in Redis, where
// replicas share it.
type progress struct {
	rollout.Store
	key   string // what it was made of
	close func()
}

// keepProgress makes the store of a configuration, or returns the one at work when that
// is the same.
func (g *gateway) keepProgress(cfg *Config, faults *checker) *progress {
	text, _ := json.Marshal([]any{cfg.RolloutDir, cfg.Redis})
	if g.progress != nil && g.progress.key == string(text) {
		return g.progress
	}
	if cfg.Redis == nil {
		return &progress{Store: rollout.NewFileStore(cfg.RolloutDir), key: string(text), close: func() {}}
	}
	client, err := connect(cfg.Redis, redisstore.Options(cfg.Redis.Addresses...))
	if err == nil {
		var s *redisstore.Store
		if s, err = redisstore.New(redisstore.Config{Client: client, Prefix: cfg.Redis.Prefix}); err == nil {
			return &progress{Store: s, key: string(text), close: func() { _ = client.Close() }}
		}
	}
	faults.addAll("redis", err)
	return nil
}

// keepRollouts makes the groups' rollouts; those that did not change are the ones at work.
func (g *gateway) keepRollouts(cfg *Config, p *parts) error {
	p.rollouts = make(map[string][]*runningRollout)
	for i := range cfg.Groups {
		group := &cfg.Groups[i]
		if !group.has(stageRouting) {
			continue
		}
		for j := range group.Routing.Rollouts {
			r, err := g.keepRollout(group.Path, &group.Routing.Rollouts[j], cfg, p)
			if err != nil {
				return err
			}
			p.rollouts[group.Path] = append(p.rollouts[group.Path], r)
		}
	}
	return nil
}

func (g *gateway) keepRollout(group string, cfg *Rollout, all *Config, p *parts) (*runningRollout, error) {
	text, _ := json.Marshal([]any{group, cfg}) // plain values
	if old := g.rollouts[cfg.name()]; old != nil && old.key == string(text) && old.from == p.progress {
		return old, nil
	}
	made, err := g.newRollout(cfg, all, p)
	return &runningRollout{Rollout: made, group: group, key: string(text), from: p.progress}, err
}

func (g *gateway) newRollout(cfg *Rollout, all *Config, p *parts) (*rollout.Rollout, error) {
	config := cfg.library()
	config.Store, config.OnEvent = p.progress, g.hooks.Rollout
	if old := g.rollouts[cfg.name()]; old != nil && old.from != p.progress {
		config.Store = newSuccessor(p.progress, old.Rollout)
	}
	if all.Redis != nil {
		config.Replicas = all.Redis.Replicas
	}
	return rollout.New(config)
}

// successor is a new store that knows nothing yet of what another one kept: it begins with
// how far the rollout is, so that a canary that was taken back stays so.
type successor struct {
	rollout.Store
	before atomic.Pointer[rollout.Rollout] // nil: the store knows by now
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

// startRollouts stops the rollouts that are gone, which saves what they know, and then
// reads it for the new ones, before they get a request.
func (g *gateway) startRollouts(ctx context.Context, a *app) {
	next := make(map[string]*runningRollout)
	for _, group := range a.groups {
		for _, r := range group.rollouts {
			next[r.Status().Name] = r
		}
	}
	for name, old := range g.rollouts {
		if next[name] != old {
			old.stop()
		}
	}
	for name, r := range next {
		if g.rollouts[name] != r {
			g.restore(ctx, name, r)
			r.start(context.WithoutCancel(ctx))
		}
	}
	if old := g.progress; old != nil && old != a.progress {
		time.AfterFunc(time.Minute, old.close)
	}
	g.rollouts, g.progress = next, a.progress
}

func (g *gateway) restore(ctx context.Context, name string, r *runningRollout) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := r.Restore(ctx); err != nil { // it asks again; meanwhile the canary gets nothing
		g.log.Error("rollout: the store does not respond", "rollout", name, "error", err)
	}
}

func (r *runningRollout) start(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Run(ctx) // ends with its context, without another error
	}()
	r.stop = func() {
		cancel()
		<-done
	}
}

// feedback takes what users tell of a version: {"model": "demo", "good": false}, sent to
// GROUP/feedback, counts for the version that the user has.
func feedback(cfg *Group) gin.HandlerFunc {
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

// rolloutRow is a rollout as the private port tells of it.
type rolloutRow struct {
	Group string `json:"group"`
	rollout.Status
}

// rolloutRows are those at work, in the order of the configuration.
func (g *gateway) rolloutRows() []rolloutRow {
	rows := []rolloutRow{}
	if a := g.current.Load(); a != nil {
		for _, group := range a.groups {
			for _, r := range group.rollouts {
				rows = append(rows, rolloutRow{r.group, r.Status()})
			}
		}
	}
	return rows
}

func (g *gateway) rolloutStates() []rollout.Status {
	var states []rollout.Status
	for _, row := range g.rolloutRows() {
		states = append(states, row.Status)
	}
	return states
}

func (g *gateway) getRollouts(c *gin.Context) { c.JSON(http.StatusOK, g.rolloutRows()) }

// postRollout lets somebody decide: pause, resume, promote, rollback, restart.
func (g *gateway) postRollout(c *gin.Context) {
	for _, group := range g.current.Load().groups {
		for _, r := range group.rollouts {
			if r.Status().Name == c.Param("name") {
				r.decide(c)
				return
			}
		}
	}
	apierror.Abort(c, &apierror.Error{Status: http.StatusNotFound, Code: "no_rollout", Message: "There is no rollout of this name."})
}

func (r *runningRollout) decide(c *gin.Context) {
	does := map[string]func(context.Context) error{
		"pause": r.Pause, "resume": r.Resume, "promote": r.Promote, "rollback": r.RollBack, "restart": r.Restart,
	}[c.Param("action")]
	if does == nil {
		apierror.Abort(c, &apierror.Error{Status: http.StatusNotFound, Code: "no_action", Message: "A rollout can pause, resume, promote, rollback and restart."})
		return
	}
	if err := does(context.WithoutCancel(c.Request.Context())); err != nil {
		apierror.Abort(c, &apierror.Error{Status: http.StatusConflict, Code: "not_now", Message: err.Error(), Err: err})
		return
	}
	c.JSON(http.StatusOK, rolloutRow{r.group, r.Status()})
}
