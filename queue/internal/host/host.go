// Package host connects the queue with the kinds of work that packages batch and jobs
// add to it.
package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// Config is the part of queue.Config that handlers need, with its defaults.
type Config struct {
	Owner, Tenant   func(*gin.Context) (string, error)
	Identity        func(*gin.Context) ([]byte, error)
	Headers         []string
	Endpoints       []string
	Window, FileTTL time.Duration
	ErrorHandler    func(*gin.Context, error)
}

// Part is what a package adds to a queue. Each field is optional.
type Part struct {
	// Open opens tasks, by Task.Kind.
	Open map[string]Opener
	// Replay submits dead letters again, by Letter.Kind.
	Replay map[string]Replayer
	// Adopt submits a task of another kind as a job.
	Adopt func(context.Context, *jet.Store, *jet.Letter, *task.Task) (id string, err error)
	// Loops run from the connection to the store until ctx ends.
	Loops []Loop
	// Stopped is called with the ID of work that was stopped.
	Stopped func(id string)
}

// Loop does work in the background until ctx ends.
type Loop func(ctx context.Context, store *jet.Store, leases *jet.Leases)

// Opener returns the Run of a task, or ErrNotNeeded. A task that was redelivered may have
// a result.
type Opener func(ctx context.Context, store *jet.Store, t *task.Task, redelivered bool) (Run, error)

// ErrNotNeeded is returned when a task's result is not needed any more.
var ErrNotNeeded = errors.New("queue: the result is not needed")

// Run is the state of one task while a worker has it.
type Run interface {
	// Begin counts an attempt and returns its number, from 1; 0 if the task has ended.
	Begin(ctx context.Context) (attempt int, err error)
	// Undo takes back the count of an attempt that was interrupted.
	Undo(ctx context.Context)
	// End writes the result.
	End(ctx context.Context, res *task.Response, attempts int) error
}

// Replayer submits a dead letter again and returns the ID under which it runs.
type Replayer func(ctx context.Context, store *jet.Store, l *jet.Letter, content []byte) (id string, err error)

// Host is what a queue offers its parts. It is safe for concurrent use once all parts
// are registered.
type Host struct {
	Config
	// Waiters are notified of changes.
	Waiters *Waiters

	store atomic.Pointer[jet.Store]
	down  atomic.Pointer[error] // why the store does not accept writes; nil: it does
	doubt chan struct{}
	parts []*Part
	all   Part // the maps of all parts
}

// New returns a Host.
func New(cfg Config) *Host {
	return &Host{Config: cfg, Waiters: NewWaiters(), doubt: make(chan struct{}, 1), all: Part{Open: map[string]Opener{}, Replay: map[string]Replayer{}}}
}

// errRegistered is returned when two parts have the same kind.
var errRegistered = errors.New("is registered already")

// Register adds a part.
func (h *Host) Register(p *Part) error {
	for kind := range p.Replay {
		if _, ok := h.all.Replay[kind]; ok {
			return fmt.Errorf("queue: kind %s %w", kind, errRegistered)
		}
	}
	h.parts = append(h.parts, p)
	maps.Copy(h.all.Open, p.Open)
	maps.Copy(h.all.Replay, p.Replay)
	if p.Adopt != nil {
		h.all.Adopt = p.Adopt
	}
	return nil
}

// Parts returns the registered parts.
func (h *Host) Parts() []*Part { return h.parts }

// ErrUnknownKind is returned for a task of a package not used in this process.
var ErrUnknownKind = errors.New("queue: unknown kind of task")

// Open opens a task.
func (h *Host) Open(ctx context.Context, store *jet.Store, t *task.Task, redelivered bool) (Run, error) {
	if open, ok := h.all.Open[t.Kind]; ok {
		return open(ctx, store, t, redelivered)
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknownKind, t.Kind)
}

// Replay submits a dead letter again.
func (h *Host) Replay(ctx context.Context, store *jet.Store, l *jet.Letter, content []byte) (id string, err error) {
	if replay, ok := h.all.Replay[l.Kind]; ok {
		return replay(ctx, store, l, content)
	}
	if l.Kind == "" { // it could not be read when it was made
		return "", api.WrongState("dead_letter_unreadable", "The dead letter can't be read.")
	}
	return "", unsupported()
}

// Adopt submits a task of another kind as a job.
func (h *Host) Adopt(ctx context.Context, store *jet.Store, l *jet.Letter, t *task.Task) (id string, err error) {
	if h.all.Adopt != nil {
		return h.all.Adopt(ctx, store, l, t)
	}
	return "", unsupported()
}

func unsupported() error {
	return api.WrongState("dead_letter_unsupported", "This gateway can't replay the dead letter.")
}

// Connected sets the store; nil when the connection ends.
func (h *Host) Connected(store *jet.Store) { h.store.Store(store) }

// Store returns the store, if it is connected.
func (h *Host) Store() (*jet.Store, error) {
	if s := h.store.Load(); s != nil {
		return s, nil
	}
	return nil, api.Unavailable(errors.New("queue: not connected"))
}

// Handler returns a handler that responds to an error of f.
func (h *Host) Handler(f func(*gin.Context) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Header("Cache-Control", "no-store")
		if err := f(c); err != nil {
			h.ErrorHandler(c, api.Error(err))
		}
	}
}

// Writer is Handler for a request that writes. While the store accepts no writes it refuses at
// once, and otherwise within a second.
func (h *Host) Writer(f func(*gin.Context) error) gin.HandlerFunc {
	return h.Handler(func(c *gin.Context) error {
		if err := h.Down(); err != nil {
			return api.Unwritable(err)
		}
		c.Request = c.Request.WithContext(jet.Hasty(c.Request.Context()))
		err := f(c)
		if errors.Is(err, jet.ErrUnavailable) {
			select {
			case h.doubt <- struct{}{}:
			default:
			}
			return api.Unwritable(err)
		}
		return err
	})
}

// Doubt receives a value after a write has failed: the store is to be probed.
func (h *Host) Doubt() <-chan struct{} { return h.doubt }

// SetDown sets why the store accepts no writes; nil: it does.
func (h *Host) SetDown(err error) {
	if err == nil {
		h.down.Store(nil)
		return
	}
	h.down.Store(&err)
}

// Down returns why the store accepts no writes.
func (h *Host) Down() error {
	if err := h.down.Load(); err != nil {
		return *err
	}
	return nil
}

// maxName is the longest owner or tenant, in bytes.
const maxName = 256

// Caller returns the owner and the tenant of a request.
func (h *Host) Caller(c *gin.Context) (owner, tenant string, err error) {
	if owner, err = h.Owner(c); err != nil {
		return "", "", err
	}
	if tenant, err = h.Tenant(c); err != nil {
		return "", "", err
	}
	if owner == "" || len(owner) > maxName || tenant == "" || len(tenant) > maxName {
		return "", "", api.Invalid("no_owner", "The owner of the request is unknown.")
	}
	return owner, tenant, nil
}

// StoreOf returns the store and the owner of a request.
func (h *Host) StoreOf(c *gin.Context) (store *jet.Store, owner string, err error) {
	if store, err = h.Store(); err != nil {
		return nil, "", err
	}
	owner, _, err = h.Caller(c)
	return store, owner, err
}

// Listed responds with a page of the caller's records of a kind.
func (h *Host) Listed(c *gin.Context, kind string, pages api.Pages, view func(ctx context.Context, store *jet.Store, owner, id string) (any, error)) error {
	store, owner, err := h.StoreOf(c)
	if err != nil {
		return err
	}
	list, err := api.Listed(c, store, kind, owner, pages, func(ctx context.Context, id string) (any, error) { return view(ctx, store, owner, id) })
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, list)
	return nil
}

// maxIdentity bounds the result of Config.Identity, in bytes.
const maxIdentity = 64 << 10

// Origin returns what is stored of the submitter of a request.
func (h *Host) Origin(c *gin.Context) (*task.Origin, error) {
	o := &task.Origin{Remote: c.Request.RemoteAddr}
	for _, name := range h.Headers {
		if v := c.Request.Header.Values(name); len(v) > 0 {
			if o.Header == nil {
				o.Header = http.Header{}
			}
			o.Header[http.CanonicalHeaderKey(name)] = v
		}
	}
	if h.Identity == nil {
		return o, nil
	}
	id, err := h.Identity(c)
	if err != nil {
		return nil, err
	}
	if len(id) > maxIdentity {
		return nil, api.Invalid("identity_too_large", "The caller's identity is too large to be stored.")
	}
	o.Identity = id
	return o, nil
}
