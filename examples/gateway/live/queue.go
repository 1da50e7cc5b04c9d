package live

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/examples/gateway/config"
	observejobs "github.com/ginfer/ginfer/observe/jobs"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/batch"
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/ginfer/ginfer/queue/jobs"
	"github.com/nats-io/nats.go"
)

// Queue is the queue with its APIs. It lives as long as the process.
type Queue struct {
	*queue.Queue

	batches *batch.API
	jobs    *jobs.API
}

// Routes adds the paths of jobs and batches.
func (q *Queue) Routes(r gin.IRouter) {
	q.jobs.Routes(r)
	q.batches.Routes(r)
}

// AdminRoutes adds the paths for operators.
func (q *Queue) AdminRoutes(r gin.IRouter) {
	q.Queue.AdminRoutes(r)
	q.batches.AdminRoutes(r)
}

type queueConnect = func(context.Context) (*nats.Conn, error)

// queue builds the queue of the first configuration that has one; it stays until the end.
func (b *builder) queue() (err error) {
	cfg := b.Config.Queue
	if _, running := Previous[*Queue](b.g.keeper, "queue"); cfg == nil && !running {
		return nil
	}
	b.Queue, err = Keep(b.g.keeper, "queue", []any{cfg}, func() (Part[*Queue], error) {
		connect, store, err := b.queueStore(cfg)
		if err != nil {
			return Part[*Queue]{}, err
		}
		q, err := b.newQueue(cfg, connect)
		if err != nil {
			return Part[*Queue]{}, err
		}
		out := &Queue{Queue: q}
		if out.batches, err = batch.New(batch.Config{Queue: q}); err != nil {
			return Part[*Queue]{}, err
		}
		if out.jobs, err = newJobs(cfg, q); err != nil {
			return Part[*Queue]{}, err
		}
		loops := []func(context.Context) error{q.Run}
		if store != nil {
			loops = append(loops, store.Run)
		}
		return Part[*Queue]{Value: out, Run: loops, Pinned: true}, nil
	})
	return err
}

// queueStore is the embedded store, or a cluster elsewhere.
func (b *builder) queueStore(cfg *config.Queue) (connect queueConnect, store *embedded.Server, err error) {
	if cfg.URL != "" {
		url, err := config.Expand(cfg.URL)
		return queue.URL(url), nil, err
	}
	store, err = embedded.New(embedded.Config{Dir: cmp.Or(cfg.Dir, "queue"), SyncAlways: cfg.SyncAlways, Logf: func(format string, args ...any) {
		b.g.Log().Warn("queue store", "message", strings.TrimSpace(fmt.Sprintf(format, args...)))
	}})
	if err != nil {
		return nil, nil, err
	}
	return store.Connect, store, nil
}

func (b *builder) newQueue(cfg *config.Queue, connect queueConnect) (*queue.Queue, error) {
	watch, err := observejobs.New(observejobs.Config{MeterProvider: b.g.telemetry.OTel.MeterProvider(), Logger: b.g.Log()})
	if err != nil {
		return nil, err
	}
	return queue.New(queue.Config{
		Connect: connect, Replicas: cfg.Replicas, Workers: cfg.Workers, TenantWorkers: cfg.TenantWorkers,
		Owner: auth.Subject, Tenant: auth.Tenant, Identity: identity, Attach: attach, Headers: []string{"X-Forwarded-For"}, // the gate evaluates it again
		Handler: http.HandlerFunc(b.g.serveQueued), SpareCapacity: b.g.spare,
		Window: time.Duration(cfg.Window), ResultTTL: time.Duration(cfg.Keep), FileTTL: time.Duration(cfg.Keep), DeadTTL: time.Duration(cfg.Keep),
		OnEvent: watch.Event,
	})
}

func newJobs(cfg *config.Queue, q *queue.Queue) (*jobs.API, error) {
	out := jobs.Config{Queue: q}
	if w := cfg.Webhooks; w != nil {
		out.Webhooks = &jobs.Webhooks{Hosts: w.Hosts, Networks: prefixes(w.Networks)}
		for _, secret := range w.Secrets {
			text, err := config.Expand(secret)
			if err != nil {
				return nil, err
			}
			out.Webhooks.Secrets = append(out.Webhooks.Secrets, text)
		}
	}
	return jobs.New(out)
}

// identity is what is stored of the submitter of a job. It is not a credential.
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
		return ctx // without an identity: the limits refuse it
	}
	return auth.NewContext(ctx, id)
}

// serveQueued serves a request of the queue by the chain of its group, which need not be
// the one that accepted it.
func (g *Gateway) serveQueued(w http.ResponseWriter, r *http.Request) {
	a := g.enter()
	defer a.inflight.Add(-1)
	if group := a.Find(r.URL.Path); group != nil && group.inner != nil {
		group.inner.ServeHTTP(w, r)
		return
	}
	a.nowhere.ServeHTTP(w, r)
}

// spare is how many more requests the groups with a limit could take: live requests go first.
func (g *Gateway) spare() int {
	const plenty = 1 << 20
	least := plenty
	for _, group := range g.Current().Groups {
		if group.inner != nil && group.Concurrency != nil {
			inflight, limit := group.Concurrent()
			least = min(least, limit-inflight)
		}
	}
	return max(least, 0)
}

// queuePaths serves the queue's own paths below a group's path, and all others by its chain.
func queuePaths(q *Queue, path string, observe, gate gin.HandlersChain, chain http.Handler) http.Handler {
	r := gin.New()
	_ = r.SetTrustedProxies(nil)
	r.Use(observe...)
	r.NoRoute(append(gate, nowhere)...)
	q.Routes(r.Group(path, gate...))
	prefix := strings.TrimSuffix(fold(path), "/")
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		// What an upstream may resolve to such a path is one as well.
		rest, _ := below(fold(req.URL.Path), prefix)
		first, _, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		if first == "files" || first == "batches" || first == "jobs" {
			r.ServeHTTP(w, req)
			return
		}
		chain.ServeHTTP(w, req)
	})
}
