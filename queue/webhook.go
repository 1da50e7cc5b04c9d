package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/ginfer/ginfer/queue/internal/hook"
	"github.com/ginfer/ginfer/queue/internal/jet"
)

// Webhooks says how jobs may be told of. A call is a POST signed as
// https://www.standardwebhooks.com has it. Its receiver must check the signature,
// and answer with a 2xx status.
type Webhooks struct {
	// Secrets sign the calls: "whsec_" and 24 to 64 bytes in base64. Each signs, so
	// that a new one can be added before an old one goes. Required.
	Secrets []string
	// Hosts may be called: names, or ".example.com" for all below one. Default: all
	// whose addresses are public.
	Hosts []string
	// Networks may be called although they are not public. Default: none.
	Networks []netip.Prefix
	// PlainHTTP allows URLs without TLS. Default false.
	PlainHTTP bool
	// Timeout bounds one call. Default 10 s.
	Timeout time.Duration
	// Attempts is how often a call is tried before it is a dead letter. Backoff is
	// the wait before the second try; it doubles, up to an hour. Defaults 10 and 5 s.
	Attempts int
	Backoff  time.Duration
	// Concurrency is how many calls run at once in this process. Default 16.
	Concurrency int
}

func (w *Webhooks) check() error {
	if w == nil {
		return nil
	}
	var faults []error
	if len(w.Secrets) == 0 {
		faults = append(faults, errors.New("queue: Webhooks.Secrets is required"))
	}
	for i, s := range w.Secrets {
		if _, err := hook.Secret(s); err != nil {
			faults = append(faults, fmt.Errorf("queue: Webhooks.Secrets[%d]: %w", i, err))
		}
	}
	if w.Timeout < 0 || w.Attempts < 0 || w.Backoff < 0 || w.Concurrency < 0 {
		faults = append(faults, errors.New("queue: a bound in Webhooks is negative"))
	}
	return errors.Join(faults...)
}

func (w *Webhooks) complete() *Webhooks {
	c := *w
	def(&c.Timeout, 10*time.Second)
	def(&c.Attempts, 10)
	def(&c.Backoff, 5*time.Second)
	def(&c.Concurrency, 16)
	return &c
}

// maxCallBackoff is the longest wait between two calls.
const maxCallBackoff = time.Hour

// caller calls webhooks.
type caller struct {
	cfg    *Webhooks
	keys   [][]byte
	guard  *hook.Guard
	client *http.Client
}

func newCaller(w *Webhooks) *caller {
	g := &hook.Guard{Hosts: w.Hosts, Networks: w.Networks, PlainHTTP: w.PlainHTTP}
	c := &caller{cfg: w, guard: g, client: g.Client(w.Timeout)}
	for _, s := range w.Secrets {
		key, _ := hook.Secret(s) // checked
		c.keys = append(c.keys, key)
	}
	return c
}

func (q *Queue) checkWebhook(url string) error {
	if q.hooks == nil {
		return invalid("webhooks_not_supported", "Webhooks are not supported here.")
	}
	if _, err := q.hooks.guard.Check(url); err != nil {
		return invalid("invalid_webhook_url", "webhook.url can't be called: %s.", err)
	}
	return nil
}

// call is a call that is due. Its ID stays the same at each try.
type call struct {
	ID     string          `json:"id"`
	JobID  string          `json:"job"`
	Tenant string          `json:"tenant"`
	URL    string          `json:"url"`
	Body   json.RawMessage `json:"body"`
}

// announce sees to it that the webhook of a job that is done is called.
func (q *Queue) announce(ctx context.Context, store *jet.Store, rec *jobRecord) error {
	if rec.Webhook == "" || q.hooks == nil {
		return nil
	}
	body, err := json.Marshal(map[string]any{"type": "job." + rec.Status, "timestamp": rec.Finished.UTC().Format(time.RFC3339Nano), "data": rec.view()})
	if err != nil {
		return err
	}
	due := call{ID: fmt.Sprintf("msg_%s_%d", rec.ID, rec.Round), JobID: rec.ID, Tenant: rec.Tenant, URL: rec.Webhook, Body: body}
	payload, err := json.Marshal(due)
	if err != nil {
		return err
	}
	return store.Send(ctx, jet.Hooks, rec.Tenant, due.ID, payload)
}

// receive hands the messages of a channel to work, so many at once, until ctx ends.
// It waits for those that run.
func (q *Queue) receive(ctx context.Context, store *jet.Store, from jet.Channel, most int, work func(*jet.Delivery)) {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, most)
	for ctx.Err() == nil {
		r, err := store.Receiver(ctx, from)
		if err != nil {
			jet.Sleep(ctx, pollEvery)
			continue
		}
		for err == nil && ctx.Err() == nil {
			slots <- struct{}{} // one at least is free
			<-slots
			var all []*jet.Delivery
			all, err = r.Next(ctx, most-len(slots), recheck)
			for _, d := range all {
				slots <- struct{}{}
				running.Go(func() {
					defer func() { <-slots }()
					work(d)
				})
			}
		}
		if err != nil {
			jet.Sleep(ctx, pollEvery)
		}
	}
}

// call calls webhooks until ctx ends.
func (q *Queue) call(ctx context.Context, store *jet.Store, kept *keeper) {
	defer q.hooks.client.CloseIdleConnections()
	q.receive(ctx, store, jet.Hooks, q.hooks.cfg.Concurrency, func(d *jet.Delivery) {
		kept.hold(d)
		defer kept.drop(d)
		if err := q.deliver(ctx, d); err != nil {
			_ = d.Nak(q.hooks.cfg.Backoff)
		}
	})
}

func (q *Queue) deliver(ctx context.Context, d *jet.Delivery) error {
	var due call
	payload, err := d.Payload(ctx)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(payload, &due); err != nil {
		return d.DeadLetter(ctx, jet.Letter{Kind: kindHook, Reason: err.Error(), Attempts: d.Attempt})
	}
	e := Event{ID: due.JobID, Line: -1, Tenant: due.Tenant, Attempt: d.Attempt}
	status, err := q.hooks.post(ctx, &due)
	e.Status, e.Err = status, err
	switch {
	case err == nil && (status/100 == 2 || status == http.StatusGone):
		e.Kind = Called
		err = d.AckSync(ctx)
	case ctx.Err() != nil:
		return d.Nak(0)
	case d.Attempt >= q.hooks.cfg.Attempts || errors.Is(err, hook.ErrForbidden):
		e.Kind = Dead
		err = d.DeadLetter(ctx, jet.Letter{Kind: kindHook, ID: due.JobID, Tenant: due.Tenant, Reason: fmt.Sprintf("status %d, %v", status, err), Attempts: d.Attempt})
	default:
		e.Kind, e.Delay = Retried, q.hooks.delay(d.Attempt)
		err = d.Nak(e.Delay)
	}
	if err == nil {
		q.emit(ctx, e)
	}
	return err
}

func (c *caller) delay(attempt int) time.Duration {
	d := c.cfg.Backoff << min(attempt-1, 20)
	if d <= 0 || d > maxCallBackoff {
		return maxCallBackoff
	}
	return d
}

// post makes one call. The guard looks again: the list may be another now.
func (c *caller) post(ctx context.Context, due *call) (status int, err error) {
	u, err := c.guard.Check(due.URL)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(due.Body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "ginfer-queue")
	hook.Sign(r.Header, c.keys, due.ID, time.Now(), due.Body)
	res, err := c.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	return res.StatusCode, nil
}
