package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/hook"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// caller calls webhooks. A nil caller refuses them.
type caller struct {
	cfg    *Webhooks
	queue  *queue.Queue
	keys   [][]byte
	guard  *hook.Guard
	client *http.Client
}

func newCaller(w *Webhooks, q *queue.Queue) *caller {
	g := &hook.Guard{Hosts: w.Hosts, Networks: w.Networks, PlainHTTP: w.PlainHTTP}
	c := &caller{cfg: w, queue: q, guard: g, client: g.Client(w.Timeout)}
	for _, s := range w.Secrets {
		key, _ := hook.Secret(s) // checked
		c.keys = append(c.keys, key)
	}
	return c
}

// check reports whether a URL may be called.
func (c *caller) check(url string) error {
	if c == nil {
		return api.Invalid("webhooks_not_supported", "Webhooks are not supported here.")
	}
	if _, err := c.guard.Check(url); err != nil {
		return api.Invalid("invalid_webhook_url", "webhook.url can't be called: %s.", err)
	}
	return nil
}

// call is a call that is due. Its ID is the same in each attempt.
type call struct {
	ID     string          `json:"id"`
	JobID  string          `json:"job"`
	Tenant string          `json:"tenant"`
	URL    string          `json:"url"`
	Body   json.RawMessage `json:"body"`
}

// announce stores the call of the webhook of a job that is done.
func (c *caller) announce(ctx context.Context, store *jet.Store, rec *record) error {
	if c == nil || rec.Webhook == "" {
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
	return store.Channels.Send(ctx, jet.Hooks, rec.Tenant, due.ID, payload)
}

// run calls webhooks until ctx ends.
func (c *caller) run(ctx context.Context, store *jet.Store, leases *jet.Leases) {
	defer c.client.CloseIdleConnections()
	store.Channels.Receive(ctx, jet.Hooks, leases, c.cfg.Concurrency, func(d *jet.Delivery) {
		if err := c.deliver(ctx, d); err != nil {
			_ = d.Nak(c.cfg.Backoff)
		}
	})
}

func (c *caller) deliver(ctx context.Context, d *jet.Delivery) error {
	var due call
	payload, err := d.Payload(ctx)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(payload, &due); err != nil {
		return d.DeadLetter(ctx, jet.Letter{Kind: task.Webhook, Reason: err.Error(), Attempts: d.Attempt})
	}
	e := queue.Event{ID: due.JobID, Line: -1, Tenant: due.Tenant, Attempt: d.Attempt}
	status, err := c.post(ctx, &due)
	e.Status, e.Err = status, err
	switch {
	case err == nil && (status/100 == 2 || status == http.StatusGone):
		e.Kind = queue.Called
		err = d.AckSync(ctx)
	case ctx.Err() != nil:
		return d.Nak(0)
	case d.Attempt >= c.cfg.Attempts || errors.Is(err, hook.ErrForbidden):
		e.Kind = queue.Dead
		err = d.DeadLetter(ctx, jet.Letter{Kind: task.Webhook, ID: due.JobID, Tenant: due.Tenant, Reason: fmt.Sprintf("status %d, %v", status, err), Attempts: d.Attempt})
	default:
		e.Kind, e.Delay = queue.Retried, c.delay(d.Attempt)
		err = d.Nak(e.Delay)
	}
	if err == nil {
		c.queue.Emit(ctx, e)
	}
	return err
}

// maxBackoff is the longest wait between two attempts.
const maxBackoff = time.Hour

func (c *caller) delay(attempt int) time.Duration {
	d := c.cfg.Backoff << min(attempt-1, 20)
	if d <= 0 || d > maxBackoff {
		return maxBackoff
	}
	return d
}

// post makes one attempt. It checks the URL again, as Hosts may have changed.
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
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be reused
	return res.StatusCode, nil
}
