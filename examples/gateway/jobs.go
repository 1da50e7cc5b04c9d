package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/auth"
	observejobs "github.com/ginfer/ginfer/observe/jobs"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/batch"
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/ginfer/ginfer/queue/jobs"
	"github.com/nats-io/nats.go"
)

type queueConnect = func(context.Context) (*nats.Conn, error)

// work is the queue with what it is kept in. It lives as long as the process.
type work struct {
	*queue.Queue
	batches *batch.API
	jobs    *jobs.API
	key     string           // what it was made of
	store   *embedded.Server // nil: it is elsewhere
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// Routes adds the paths of jobs and batches.
func (w *work) Routes(r gin.IRouter) {
	w.jobs.Routes(r)
	w.batches.Routes(r)
}

// AdminRoutes adds the paths for operators.
func (w *work) AdminRoutes(r gin.IRouter) {
	w.Queue.AdminRoutes(r)
	w.batches.AdminRoutes(r)
}

// keepWork is the queue that the first configuration with one describes; nil: there is
// none.
func (g *gateway) keepWork(cfg *Queue) (*work, error) {
	text, _ := json.Marshal(cfg) // plain values
	if cfg == nil || g.work != nil {
		if g.work != nil && g.work.key != string(text) {
			g.log.Warn("a change of the queue needs a restart")
		}
		return g.work, nil
	}
	w := &work{key: string(text)}
	connect, store, err := g.queueStore(cfg)
	if err != nil {
		return nil, err
	}
	w.store = store
	if w.Queue, err = g.newQueue(cfg, connect); err != nil {
		return nil, err
	}
	if w.batches, err = batch.New(batch.Config{Queue: w.Queue}); err != nil {
		return nil, err
	}
	w.jobs, err = newJobs(cfg, w.Queue)
	return w, err
}

// startWork starts a queue that is new.
func (g *gateway) startWork(w *work) {
	if w == g.work {
		return
	}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	if w.store != nil {
		w.done.Go(func() { g.ended("the queue's store", w.store.Run(ctx)) })
	}
	w.done.Go(func() { g.ended("the queue", w.Run(ctx)) })
	g.work = w
	if g.admin.Load() != nil { // a reload brought it
		g.openAdmin()
	}
}

func (g *gateway) ended(what string, err error) {
	if err != nil {
		g.log.Error(what+" ended", "error", err)
	}
}

// queueStore is a server inside the gateway, or a cluster outside.
func (g *gateway) queueStore(cfg *Queue) (connect queueConnect, store *embedded.Server, err error) {
	if cfg.URL != "" {
		url, err := expand(cfg.URL)
		return queue.URL(url), nil, err
	}
	dir := cfg.Dir
	if dir == "" {
		dir = "queue"
	}
	store, err = embedded.New(embedded.Config{Dir: dir, SyncAlways: cfg.SyncAlways, Logf: func(format string, args ...any) {
		g.log.Warn("queue store", "message", strings.TrimSpace(fmt.Sprintf(format, args...)))
	}})
	if err != nil {
		return nil, nil, err
	}
	return store.Connect, store, nil
}

func (g *gateway) newQueue(cfg *Queue, connect queueConnect) (*queue.Queue, error) {
	watch, err := observejobs.New(observejobs.Config{MeterProvider: g.otel.MeterProvider(), Logger: g.log})
	if err != nil {
		return nil, err
	}
	return queue.New(queue.Config{
		Connect: connect, Replicas: cfg.Replicas, Workers: cfg.Workers, TenantWorkers: cfg.TenantWorkers,
		Owner: auth.Subject, Tenant: auth.Tenant, Identity: identity, Attach: attach, Headers: []string{"X-Forwarded-For"}, // the gate looks again
		Handler: http.HandlerFunc(g.carryOut), SpareCapacity: g.spare,
		Window: time.Duration(cfg.Window), ResultTTL: time.Duration(cfg.Keep), FileTTL: time.Duration(cfg.Keep), DeadTTL: time.Duration(cfg.Keep),
		OnEvent: watch.Event,
	})
}

func newJobs(cfg *Queue, q *queue.Queue) (*jobs.API, error) {
	config := jobs.Config{Queue: q}
	if w := cfg.Webhooks; w != nil {
		config.Webhooks = &jobs.Webhooks{Hosts: w.Hosts, Networks: prefixes(w.Networks)}
		for _, secret := range w.Secrets {
			text, err := expand(secret)
			if err != nil {
				return nil, err
			}
			config.Webhooks.Secrets = append(config.Webhooks.Secrets, text)
		}
	}
	return jobs.New(config)
}

// identity is what is kept of who submitted a job. It is no credential.
func identity(c *gin.Context) ([]byte, error) {
	id, ok := auth.FromContext(c.Request.Context())
	if !ok {
		return nil, auth.ErrNoIdentity
	}
	return json.Marshal(id)
}

func attach(ctx context.Context, kept []byte) context.Context {
	id := new(auth.Identity)
	if json.Unmarshal(kept, id) != nil {
		return ctx // nobody: the limits refuse it
	}
	return auth.NewContext(ctx, id)
}

// carryOut serves a request of the queue by the chain of its group, which need not be
// the one that took it.
func (g *gateway) carryOut(w http.ResponseWriter, r *http.Request) {
	a := g.enter()
	defer a.inflight.Add(-1)
	if group := a.find(r.URL.Path); group != nil && group.inner != nil {
		group.inner.ServeHTTP(w, r)
		return
	}
	a.nowhere.ServeHTTP(w, r)
}

// spare is how many more requests the groups with a bound could take: live ones first.
func (g *gateway) spare() int {
	const plenty = 1 << 20
	least := plenty
	for _, group := range g.current.Load().groups {
		if group.inner != nil && group.limits != nil && group.limits.adaptive != nil {
			least = min(least, group.limits.adaptive.Limit()-group.limits.adaptive.Inflight())
		}
	}
	return max(least, 0)
}

// withQueue answers the queue's own paths in a group, and all others by its chain.
func (g *gateway) withQueue(cfg *Group, w *work, gate gin.HandlersChain, chain http.Handler) http.Handler {
	r := gin.New()
	_ = r.SetTrustedProxies(nil)
	r.Use(g.middlewares(cfg.Path)...)
	r.Use(apierror.Recovery(g.logPanic))
	r.NoRoute(append(gate, nowhere)...)
	w.Routes(r.Group(cfg.Path, gate...))
	prefix := strings.TrimSuffix(cfg.Path, "/")
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		// What an upstream may read as such a path is ours as well.
		first, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(plain(q.URL.Path), prefix), "/"), "/")
		if first == "files" || first == "batches" || first == "jobs" {
			r.ServeHTTP(w, q)
			return
		}
		chain.ServeHTTP(w, q)
	})
}
