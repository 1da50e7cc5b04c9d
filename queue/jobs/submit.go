package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/host"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/jsonl"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// request is the body of a submission.
type request struct {
	URL       string            `json:"url"`
	Method    string            `json:"method"`
	Body      json.RawMessage   `json:"body"`
	Priority  string            `json:"priority"`
	ExpiresIn int64             `json:"expires_in"`
	Metadata  map[string]string `json:"metadata"`
	Webhook   *struct {
		URL string `json:"url"`
	} `json:"webhook"`
}

func parsePriority(name string) (queue.Priority, bool) {
	for _, p := range []queue.Priority{queue.Normal, queue.High, queue.Low} {
		if name == p.String() {
			return p, true
		}
	}
	return queue.Normal, name == ""
}

// check returns the record of a submission.
func (a *API) check(r *request, owner, tenant string) (*record, error) {
	priority, known := parsePriority(r.Priority)
	window := a.host.Window
	switch {
	case r.Method != "" && r.Method != http.MethodPost:
		return nil, api.Invalid("invalid_method", "method must be POST.")
	case !slices.Contains(a.host.Endpoints, r.URL):
		return nil, api.Invalid("invalid_url", "url must be one of %q.", a.host.Endpoints)
	case len(r.Body) == 0 || r.Body[0] != '{':
		return nil, api.Invalid("invalid_body", "body must be a JSON object.")
	case !known:
		return nil, api.Invalid("invalid_priority", "priority must be high, normal or low.")
	case r.ExpiresIn < 0 || r.ExpiresIn > int64(window/time.Second):
		return nil, api.Invalid("invalid_expires_in", "expires_in must be 1 to %d seconds.", int64(window/time.Second))
	}
	if f := jsonl.CheckBody(r.Body); f != nil {
		return nil, api.Invalid(f.Code, "%s", f.Message)
	}
	if err := api.CheckMetadata(r.Metadata); err != nil {
		return nil, err
	}
	now := time.Now()
	rec := &record{
		Owner: owner, Tenant: tenant, Status: statusQueued, Method: http.MethodPost, URL: r.URL, Priority: priority, Metadata: r.Metadata,
		Created: now, Expires: now.Add(window),
	}
	if r.ExpiresIn > 0 {
		rec.Expires = now.Add(time.Duration(r.ExpiresIn) * time.Second)
	}
	if r.Webhook != nil {
		if err := a.hooks.check(r.Webhook.URL); err != nil {
			return nil, err
		}
		rec.Webhook = r.Webhook.URL
	}
	return rec, nil
}

// submit accepts a job. Every step can be repeated with the same ID, so that a client
// that never received a response gets the same job by its Idempotency-Key.
func (a *API) submit(c *gin.Context) (*record, error) {
	store, err := a.host.Store()
	if err != nil {
		return nil, err
	}
	owner, tenant, err := a.host.Caller(c)
	if err != nil {
		return nil, err
	}
	var r request
	body, err := api.ReadBody(c, a.cfg.BodyBytes, &r)
	if err != nil {
		return nil, err
	}
	rec, err := a.check(&r, owner, tenant)
	if err != nil {
		return nil, err
	}
	origin, err := a.host.Origin(c)
	if err != nil {
		return nil, err
	}
	ctx := c.Request.Context()
	var repeated bool
	rec.ID, repeated, err = claim(ctx, store, c.GetHeader("Idempotency-Key"), owner, body)
	if err != nil {
		return nil, err
	}
	t := &task.Task{Kind: task.Job, Owner: owner, ID: rec.ID, Method: rec.Method, URL: rec.URL, Body: r.Body, Origin: origin, Check: repeated}
	return a.enqueue(ctx, store, rec, t)
}

// enqueue writes the record and the task.
func (a *API) enqueue(ctx context.Context, store *jet.Store, rec *record, t *task.Task) (*record, error) {
	value, err := json.Marshal(rec)
	if err != nil {
		return nil, err
	}
	key := rec.key()
	if _, err = store.Records.Create(ctx, key, value); errors.Is(err, jet.ErrExists) {
		old, _, err := getRecord(ctx, store, rec.Owner, rec.ID)
		if err != nil || old.Status != statusQueued {
			return old, err
		}
		rec = old // its task may not have been published
	} else if err != nil {
		return nil, err
	}
	if err := host.Publish(ctx, store, rec.lane(), t); err != nil {
		if errors.Is(err, jet.ErrFull) || errors.Is(err, jet.ErrLaneFull) {
			_ = store.Records.Delete(context.WithoutCancel(ctx), key)
		}
		return nil, err
	}
	if !t.Check { // otherwise the first submission reported it
		a.queue.Emit(ctx, queue.Event{Kind: queue.Queued, ID: rec.ID, Line: -1, Tenant: rec.Tenant, Priority: rec.Priority})
	}
	return rec, nil
}

// usedKey is the record of an Idempotency-Key.
type usedKey struct {
	ID   string `json:"id"`
	Body string `json:"body"` // its hash
}

// maxIdempotencyKey is the longest key, in bytes.
const maxIdempotencyKey = 255

// claim returns the ID of the job of a key: a new ID, or that of the same request
// before.
func claim(ctx context.Context, store *jet.Store, key, owner string, body []byte) (id string, repeated bool, err error) {
	if key == "" {
		return api.NewID(api.JobPrefix), false, nil
	}
	if len(key) > maxIdempotencyKey {
		return "", false, api.Invalid("invalid_idempotency_key", "Idempotency-Key can have %d bytes.", maxIdempotencyKey)
	}
	use := usedKey{ID: api.NewID(api.JobPrefix), Body: digest(body)}
	value, err := json.Marshal(use)
	if err != nil {
		return "", false, err
	}
	name := api.Key(api.KeyRecords, owner, digest([]byte(key)))
	_, err = store.Records.Create(ctx, name, value)
	if !errors.Is(err, jet.ErrExists) {
		return use.ID, false, err
	}
	value, _, err = store.Records.Get(ctx, name)
	if err != nil {
		return "", false, err
	}
	var old usedKey
	if err := json.Unmarshal(value, &old); err != nil {
		return "", false, err
	}
	if old.Body != use.Body {
		return "", false, &apierror.Error{Status: http.StatusUnprocessableEntity, Code: "idempotency_key_reused", Message: "The Idempotency-Key was used with another request.", Err: queue.ErrKeyReused}
	}
	return old.ID, true, nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
