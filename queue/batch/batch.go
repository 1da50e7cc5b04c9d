package batch

import (
	"cmp"
	"errors"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/internal/host"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// Config configures an API. Queue is required.
type Config struct {
	// Queue carries out the requests. New must be called before its Run.
	Queue *queue.Queue
	// OpenBatches bounds the unfinished batches of an owner. Default: 50.
	OpenBatches int
	// Files bounds the files of an owner. Default: 1,000.
	Files int
	// FileBytes bounds an input file in bytes. Default: 200 MiB.
	FileBytes int64
	// FileLines bounds the requests of a batch. Default: 50,000.
	FileLines int
	// LineBytes bounds a line in bytes. Default: 1 MiB.
	LineBytes int
}

// API serves /files and /batches. It is safe for concurrent use.
type API struct {
	cfg   Config
	queue *queue.Queue
	host  *host.Host
	files *files
	cache *cache
}

// New returns an API that runs batches in cfg.Queue. The error joins all faults of cfg.
func New(cfg Config) (*API, error) {
	var faults []error
	if cfg.Queue == nil {
		faults = append(faults, errors.New("batch: Config.Queue is required"))
	}
	if cfg.OpenBatches < 0 || cfg.Files < 0 || cfg.FileBytes < 0 || cfg.FileLines < 0 || cfg.LineBytes < 0 {
		faults = append(faults, errors.New("batch: a bound in Config is negative"))
	}
	if err := fault.Join(faults...); err != nil {
		return nil, err
	}
	cfg.OpenBatches = cmp.Or(cfg.OpenBatches, 50)
	cfg.Files = cmp.Or(cfg.Files, 1_000)
	cfg.FileBytes = cmp.Or(cfg.FileBytes, 200<<20)
	cfg.FileLines = cmp.Or(cfg.FileLines, 50_000)
	cfg.LineBytes = cmp.Or(cfg.LineBytes, 1<<20)
	a := &API{cfg: cfg, queue: cfg.Queue, cache: newCache()}
	a.files = &files{cfg: &a.cfg}
	var err error
	a.host, err = cfg.Queue.Register(&host.Part{
		Open:    map[string]host.Opener{task.Line: a.open},
		Replay:  map[string]host.Replayer{task.Line: a.replay},
		Loops:   []host.Loop{a.drive, clean},
		Stopped: a.cache.drop,
	})
	a.files.host = a.host
	return a, err
}

// Routes adds /files and /batches to a group, such as /v1, behind the middleware that
// identifies its callers.
func (a *API) Routes(r gin.IRouter) {
	r.POST("/files", a.host.Writer(a.files.post))
	r.GET("/files", a.host.Handler(a.files.list))
	r.GET("/files/:id", a.host.Handler(a.files.read))
	r.DELETE("/files/:id", a.host.Writer(a.files.delete))
	r.GET("/files/:id/content", a.host.Handler(a.files.content))
	r.POST("/batches", a.host.Writer(a.post))
	r.GET("/batches", a.host.Handler(a.list))
	r.GET("/batches/:id", a.host.Handler(a.read))
	r.POST("/batches/:id/cancel", a.host.Writer(a.cancel))
}

// AdminRoutes adds /queue/batches to a group that only operators reach. They see the
// batches of all owners, but not the requests.
func (a *API) AdminRoutes(r gin.IRouter) {
	r.GET("/queue/batches", a.host.Handler(a.listAll))
}
