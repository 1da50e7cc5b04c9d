package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/task"
	"github.com/nats-io/nats.go"
)

// Config configures a Queue. Connect, Owner, and one of Handler and Transport are
// required. Elsewhere zero means the default and negative means off.
type Config struct {
	// Connect connects to the store: the Connect of an embedded server, or [URL]. Run
	// calls it until it succeeds.
	Connect func(context.Context) (*nats.Conn, error)
	// Name begins the names of the streams, so that several queues can share a store.
	// Default: "ginfer".
	Name string
	// Replicas is the number of servers of a cluster that store everything. Use 3 with a
	// cluster of three. Default: 1.
	Replicas int

	// Owner returns the owner of a file, batch or job, which other owners can't see. An
	// error refuses the request. auth.Subject is such a function.
	Owner func(*gin.Context) (string, error)
	// Tenant returns the tenant. Tenants share the workers. Default: Owner.
	Tenant func(*gin.Context) (string, error)
	// Weight is a tenant's share of the workers. Default: 1 for each.
	Weight func(tenant string) int
	// Identity returns what is stored with a job and passed to Attach when it runs, so
	// that limits and logs know the caller. It must contain no credential. Default: none.
	Identity func(*gin.Context) ([]byte, error)
	// Attach adds the identity to the context of the request. Default: it is not added.
	Attach func(context.Context, []byte) context.Context
	// Headers are the names of headers that are stored with a job and sent again.
	// Credentials such as Authorization and Cookie are refused. Default: none.
	Headers []string

	// Handler serves the requests: the gateway's own chain, so that its limits and
	// breakers apply. It must not lead back to the queue.
	Handler http.Handler
	// Transport carries out the requests instead of Handler.
	Transport http.RoundTripper
	// Endpoints are the paths that jobs and batches may call. Default: those of the
	// OpenAI batch API.
	Endpoints []string

	// Workers is the number of tasks that run at once in this process. A negative number
	// means none: this process only accepts work. Default: 16.
	Workers int
	// TenantWorkers is the number of workers that one tenant may use. Default: all.
	TenantWorkers int
	// SpareCapacity returns how many more requests the upstreams can take now. No more
	// tasks are started, so that live traffic goes first. It must be fast. Default: no
	// bound.
	SpareCapacity func() int
	// Attempts is the maximum number of attempts of a task, those that a crash ended
	// included. Default: 8.
	Attempts int
	// Backoff is the wait before the second attempt. It doubles, with jitter, up to
	// MaxBackoff. A longer Retry-After is obeyed, up to an hour. Default: 1 s and 1 min.
	Backoff, MaxBackoff time.Duration
	// Timeout bounds one attempt. Default: 10 min.
	Timeout time.Duration
	// Lease is the time after which the tasks of a process that died are taken over by
	// others. Default: 15 s.
	Lease time.Duration
	// DrainTimeout is how long the end of Run waits for running tasks. The rest runs
	// again in another process. Default: 10 s.
	DrainTimeout time.Duration

	// Limits bound what is stored.
	Limits Limits
	// Window is the completion window of a batch, and the maximum of a job. Default:
	// 24 h.
	Window time.Duration
	// ResultTTL is how long jobs, batches and results are stored; FileTTL files; DeadTTL
	// dead letters. Default: 30 days each.
	ResultTTL, FileTTL, DeadTTL time.Duration

	// ErrorHandler responds to a refused request. Default: [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
	// OnEvent is called with each [Event]. Default: none.
	OnEvent func(context.Context, Event)
}

// Limits bound what is stored. Zero means the default.
type Limits struct {
	// Tasks bounds the unfinished tasks; TenantTasks those of one tenant and priority.
	// Default: 100,000 and 10,000.
	Tasks, TenantTasks int
	// ResultBytes bounds a response in bytes. A longer one fails the task. Default:
	// 8 MiB.
	ResultBytes int64
	// StoreBytes bounds the files and the results on disk, each, in bytes. Default: no
	// bound.
	StoreBytes int64
	// DeadLetters is the number of dead letters that are stored. Default: 10,000.
	DeadLetters int
}

// Priority is the priority of a task. A priority with tasks always gets its share of the
// workers: 16 to 4 to 1.
type Priority int

// The priorities.
const (
	// Normal is the default of jobs.
	Normal Priority = iota
	// High has the largest share.
	High
	// Low is that of batches.
	Low
)

// String returns the name in the API.
func (p Priority) String() string { return [...]string{"normal", "high", "low"}[p] }

func priorityOf(l jet.Lane) Priority {
	p, _ := task.Priority(l)
	return Priority(p)
}

func defaultEndpoints() []string {
	return []string{"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/moderations"}
}

// check returns all faults, joined.
func (cfg *Config) check() error {
	var faults []error
	add := func(bad bool, text string) {
		if bad {
			faults = append(faults, errors.New("queue: "+text))
		}
	}
	add(cfg.Connect == nil, "Config.Connect is required")
	add(cfg.Owner == nil, "Config.Owner is required")
	add((cfg.Handler == nil) == (cfg.Transport == nil), "one of Config.Handler and Config.Transport is required")
	add(cfg.Identity != nil && cfg.Attach == nil, "Config.Identity is of no use without Attach")
	add(strings.ContainsFunc(cfg.Name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }), "Config.Name must be of a-z, 0-9 and -")
	add(cfg.Replicas < 0 || cfg.Replicas > 5, "Config.Replicas must be 1 to 5")
	add(cfg.Attempts < 0 || cfg.Backoff < 0 || cfg.MaxBackoff < 0 || cfg.Timeout < 0 || cfg.DrainTimeout < 0 || cfg.Window < 0, "Config.Attempts, Backoff, MaxBackoff, Timeout, DrainTimeout and Window must not be negative")
	add(cfg.Lease < 0 || cfg.Lease > 0 && cfg.Lease < minLease, "Config.Lease must be 500 ms or more")
	add(cfg.ResultTTL < 0 || cfg.FileTTL < 0 || cfg.DeadTTL < 0, "the TTLs in Config must not be negative")
	for _, path := range cfg.Endpoints {
		add(!strings.HasPrefix(path, "/"), fmt.Sprintf("Config.Endpoints: endpoint %q must begin with /", path))
	}
	for _, name := range cfg.Headers {
		name = http.CanonicalHeaderKey(name)
		add(name == "Cookie" || name == "Proxy-Authorization" || exchange.IsCredential(name), "Config.Headers: "+name+" is a credential and can't be stored")
	}
	add(cfg.Limits.negative(), "a bound in Config.Limits is negative")
	return fault.Join(faults...)
}

func (l *Limits) negative() bool {
	return l.Tasks < 0 || l.TenantTasks < 0 || l.ResultBytes < 0 || l.StoreBytes < 0 || l.DeadLetters < 0
}

const minLease = 500 * time.Millisecond

// complete sets the defaults.
func (cfg *Config) complete() {
	const month = 30 * 24 * time.Hour
	cfg.Name = cmp.Or(cfg.Name, "ginfer")
	cfg.Replicas = cmp.Or(cfg.Replicas, 1)
	cfg.Workers = cmp.Or(cfg.Workers, 16)
	cfg.Attempts = cmp.Or(cfg.Attempts, 8)
	cfg.Backoff = cmp.Or(cfg.Backoff, time.Second)
	cfg.MaxBackoff = cmp.Or(cfg.MaxBackoff, max(time.Minute, cfg.Backoff))
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Minute)
	cfg.Lease = cmp.Or(cfg.Lease, 15*time.Second)
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, 10*time.Second)
	cfg.Window = cmp.Or(cfg.Window, 24*time.Hour)
	cfg.ResultTTL = cmp.Or(cfg.ResultTTL, month)
	cfg.FileTTL = cmp.Or(cfg.FileTTL, month)
	cfg.DeadTTL = cmp.Or(cfg.DeadTTL, month)
	if cfg.Tenant == nil {
		cfg.Tenant = cfg.Owner
	}
	if cfg.Endpoints == nil {
		cfg.Endpoints = defaultEndpoints()
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = apierror.Abort
	}
	l := &cfg.Limits
	l.Tasks = cmp.Or(l.Tasks, 100_000)
	l.TenantTasks = cmp.Or(l.TenantTasks, 10_000)
	l.ResultBytes = cmp.Or(l.ResultBytes, 8<<20)
	l.StoreBytes = cmp.Or(l.StoreBytes, -1)
	l.DeadLetters = cmp.Or(l.DeadLetters, 10_000)
}

// URL connects to a NATS server or cluster with JetStream, such as
// "nats://10.0.0.1:4222,nats://10.0.0.2:4222". It reconnects without limit.
func URL(url string, options ...nats.Option) func(context.Context) (*nats.Conn, error) {
	return func(context.Context) (*nats.Conn, error) {
		return nats.Connect(url, append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond)}, options...)...)
	}
}
