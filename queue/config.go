package queue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/nats-io/nats.go"
)

// Config describes a Queue. Connect, Owner, and one of Handler and Transport are
// required. Elsewhere zero means the default and negative means off.
type Config struct {
	// Connect connects to the store: the Connect of an embedded server, or [URL]. It
	// is called by Run until it works.
	Connect func(context.Context) (*nats.Conn, error)
	// Name begins the names of the streams, for several queues in one store. Default
	// "ginfer".
	Name string
	// Replicas is on how many servers of a cluster everything is kept. Default 1; use
	// 3 with a cluster of three.
	Replicas int

	// Owner says whose a file, batch or job is. Nobody else can see it. An error
	// refuses the request. auth.Subject is such a function.
	Owner func(*gin.Context) (string, error)
	// Tenant says between whom workers are shared. Default: Owner.
	Tenant func(*gin.Context) (string, error)
	// Weight is a tenant's part of the workers. Default 1 for each.
	Weight func(tenant string) int
	// Identity is kept with a job and handed to Attach when it runs, so that limits
	// and logs know the caller. It must hold no credential. Default: none.
	Identity func(*gin.Context) ([]byte, error)
	// Attach puts the identity into the context of the request. Default: it is not.
	Attach func(context.Context, []byte) context.Context
	// Headers are names of headers that are kept with a job and sent again.
	// Default: none. Authorization and Cookie can't be.
	Headers []string

	// Handler carries out the requests: the gateway's own chain, so that its limits
	// and breakers hold. It must not lead back here.
	Handler http.Handler
	// Transport carries them out, in place of Handler.
	Transport http.RoundTripper
	// Endpoints are the paths that jobs and batches may call. Default: those of the
	// OpenAI batch API.
	Endpoints []string

	// Workers is how many tasks run at once in this process. Default 16; negative:
	// none, this process only takes jobs.
	Workers int
	// TenantWorkers is how many of them may be one tenant's. Default: all.
	TenantWorkers int
	// SpareCapacity says how many more requests the upstreams could take now, so that live
	// traffic goes first: no more tasks begin. It must be quick. Default: no bound.
	SpareCapacity func() int
	// Attempts is how often a task is tried, after a crash too. Default 8.
	Attempts int
	// Backoff is the wait before the second try; it doubles, with jitter, up to
	// MaxBackoff. A longer Retry-After is obeyed, up to an hour. Defaults 1 s and
	// 1 min.
	Backoff, MaxBackoff time.Duration
	// Timeout bounds one try. Default 10 min.
	Timeout time.Duration
	// Lease is how long a task of a process that died waits for another. Default
	// 15 s.
	Lease time.Duration
	// DrainTimeout is how long the end of Run waits for tasks. Those left over are tried
	// again elsewhere. Default 10 s.
	DrainTimeout time.Duration

	// Limits bound what is kept.
	Limits Limits
	// Window is how long a batch has, and the most that a job can ask for. Default
	// 24 h.
	Window time.Duration
	// ResultTTL is how long jobs, batches and results are kept; FileTTL files;
	// DeadTTL dead letters. Defaults 30 days each.
	ResultTTL, FileTTL, DeadTTL time.Duration
	// Webhooks lets jobs name a URL to call. Default nil: they can't.
	Webhooks *Webhooks

	// ErrorHandler answers a refused request. Default [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
	// OnEvent is told what happens. Optional.
	OnEvent func(context.Context, Event)
}

// Limits bound what is kept. Zero means the default.
type Limits struct {
	// Tasks that are not done: of all, and of one tenant and priority. Defaults
	// 100,000 and 10,000.
	Tasks, TenantTasks int
	// OpenBatches of one owner. Default 50.
	OpenBatches int
	// Files of one owner. Default 1,000.
	Files int
	// FileBytes, FileLines and LineBytes bound the input of a batch. Defaults 200
	// MiB, 50,000 and 1 MiB.
	FileBytes            int64
	FileLines, LineBytes int
	// JobBytes bounds the body of a job. Default 1 MiB.
	JobBytes int64
	// ResultBytes bounds an answer; a longer one fails the task. Default 8 MiB.
	ResultBytes int64
	// Waiters are the clients that wait for a job, in this process. Default 10,000.
	Waiters int
	// StoreBytes bounds the files and the results on disk, each. Default: no bound.
	StoreBytes int64
	// DeadLetters are kept. Default 10,000.
	DeadLetters int
}

// Priority says who is first. A class with tasks always gets its share: 16 to 4
// to 1.
type Priority int

// The priorities.
const (
	// Normal is the default of jobs.
	Normal Priority = iota
	// High is served first.
	High
	// Low is that of batches.
	Low
)

// String returns the name that the API uses.
func (p Priority) String() string { return [...]string{"normal", "high", "low"}[p] }

// classes are the shares of the lanes' classes, and which priority each is.
func classes() (shares []int, order []Priority) {
	return []int{16, 4, 1}, []Priority{High, Normal, Low}
}

func (p Priority) class() int {
	_, order := classes()
	return slices.Index(order, p)
}

func parsePriority(name string) (Priority, bool) {
	for _, p := range []Priority{Normal, High, Low} {
		if name == p.String() {
			return p, true
		}
	}
	return Normal, name == ""
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
	add(cfg.Attempts < 0 || cfg.Backoff < 0 || cfg.MaxBackoff < 0 || cfg.Timeout < 0 || cfg.DrainTimeout < 0 || cfg.Window < 0, "Attempts, Backoff, MaxBackoff, Timeout, DrainTimeout and Window must not be negative")
	add(cfg.Lease < 0 || cfg.Lease > 0 && cfg.Lease < minLease, "Config.Lease must be 500 ms or more")
	add(cfg.ResultTTL < 0 || cfg.FileTTL < 0 || cfg.DeadTTL < 0, "the TTLs must not be negative")
	for _, path := range cfg.Endpoints {
		add(!strings.HasPrefix(path, "/"), fmt.Sprintf("endpoint %q must begin with /", path))
	}
	for _, name := range cfg.Headers {
		name = http.CanonicalHeaderKey(name)
		add(name == "Cookie" || name == "Proxy-Authorization" || exchange.IsCredential(name), "header "+name+" is a credential and can't be kept")
	}
	faults = append(faults, cfg.Limits.check(), cfg.Webhooks.check())
	return errors.Join(faults...)
}

const minLease = 500 * time.Millisecond

func (l *Limits) check() error {
	if l.Tasks < 0 || l.TenantTasks < 0 || l.OpenBatches < 0 || l.Files < 0 || l.FileBytes < 0 || l.FileLines < 0 ||
		l.LineBytes < 0 || l.JobBytes < 0 || l.ResultBytes < 0 || l.Waiters < 0 || l.StoreBytes < 0 || l.DeadLetters < 0 {
		return errors.New("queue: a bound in Limits is negative")
	}
	return nil
}

// complete fills in the defaults.
func (cfg *Config) complete() {
	const month = 30 * 24 * time.Hour
	def(&cfg.Name, "ginfer")
	def(&cfg.Replicas, 1)
	def(&cfg.Workers, 16)
	def(&cfg.Attempts, 8)
	def(&cfg.Backoff, time.Second)
	def(&cfg.MaxBackoff, max(time.Minute, cfg.Backoff))
	def(&cfg.Timeout, 10*time.Minute)
	def(&cfg.Lease, 15*time.Second)
	def(&cfg.DrainTimeout, 10*time.Second)
	def(&cfg.Window, 24*time.Hour)
	def(&cfg.ResultTTL, month)
	def(&cfg.FileTTL, month)
	def(&cfg.DeadTTL, month)
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
	def(&l.Tasks, 100_000)
	def(&l.TenantTasks, 10_000)
	def(&l.OpenBatches, 50)
	def(&l.Files, 1_000)
	def(&l.FileBytes, 200<<20)
	def(&l.FileLines, 50_000)
	def(&l.LineBytes, 1<<20)
	def(&l.JobBytes, 1<<20)
	def(&l.ResultBytes, 8<<20)
	def(&l.Waiters, 10_000)
	def(&l.StoreBytes, -1)
	def(&l.DeadLetters, 10_000)
	if cfg.Webhooks != nil {
		cfg.Webhooks = cfg.Webhooks.complete()
	}
}

func def[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// URL connects to a NATS server or cluster with JetStream, such as
// "nats://10.0.0.1:4222,nats://10.0.0.2:4222". It connects again for ever.
func URL(url string, options ...nats.Option) func(context.Context) (*nats.Conn, error) {
	return func(context.Context) (*nats.Conn, error) {
		return nats.Connect(url, append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond)}, options...)...)
	}
}
