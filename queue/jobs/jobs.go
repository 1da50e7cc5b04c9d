package jobs

import (
	"cmp"
	"errors"
	"sync/atomic"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/internal/host"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// Config configures an API. Queue is required.
type Config struct {
	// Queue carries out the jobs. New must be called before its Run.
	Queue *queue.Queue
	// BodyBytes bounds the body of a submission in bytes. Default: 1 MiB.
	BodyBytes int64
	// Waiters bounds the clients that wait for a job in this process. Default: 10,000.
	Waiters int
	// Webhooks enables webhooks. Default: nil, jobs with a webhook are refused.
	Webhooks *Webhooks
}

// API serves /jobs. It is safe for concurrent use.
type API struct {
	cfg     Config
	queue   *queue.Queue
	host    *host.Host
	hooks   *caller // nil: webhooks are off
	waiting atomic.Int64
}

// New returns an API that runs jobs in cfg.Queue. The error joins all faults of cfg.
func New(cfg Config) (*API, error) {
	var faults []error
	if cfg.Queue == nil {
		faults = append(faults, errors.New("jobs: Config.Queue is required"))
	}
	if cfg.BodyBytes < 0 || cfg.Waiters < 0 {
		faults = append(faults, errors.New("jobs: Config.BodyBytes and Waiters must not be negative"))
	}
	if err := fault.Join(append(faults, cfg.Webhooks.check())...); err != nil {
		return nil, err
	}
	cfg.BodyBytes = cmp.Or(cfg.BodyBytes, 1<<20)
	cfg.Waiters = cmp.Or(cfg.Waiters, 10_000)
	a := &API{cfg: cfg, queue: cfg.Queue}
	part := &host.Part{
		Open:   map[string]host.Opener{task.Job: a.open},
		Replay: map[string]host.Replayer{task.Job: a.replay, task.Webhook: replayCall},
		Adopt:  a.adopt,
	}
	if cfg.Webhooks != nil {
		a.hooks = newCaller(cfg.Webhooks.complete(), cfg.Queue)
		part.Loops = append(part.Loops, a.hooks.run)
	}
	var err error
	a.host, err = cfg.Queue.Register(part)
	return a, err
}

// Routes adds /jobs to a group, such as /v1, behind the middleware that identifies its
// callers.
func (a *API) Routes(r gin.IRouter) {
	r.POST("/jobs", a.host.Writer(a.post))
	r.GET("/jobs", a.host.Handler(a.list))
	r.GET("/jobs/:id", a.host.Handler(a.read))
	r.GET("/jobs/:id/result", a.host.Handler(a.readResult))
	r.GET("/jobs/:id/events", a.host.Handler(a.events))
	r.POST("/jobs/:id/cancel", a.host.Writer(a.cancel))
}
