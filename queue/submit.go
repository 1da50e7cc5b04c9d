package queue

import (
	"bytes"
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
	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/jsonl"
)

// jobRequest is the body of a submission.
type jobRequest struct {
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

// readBody reads a bounded JSON body into v, strictly.
func readBody(c *gin.Context, limit int64, v any) ([]byte, error) {
	held, err := body.Hold(c)
	if err != nil {
		return nil, err
	}
	if err := held.Err(); err != nil {
		return nil, err
	}
	text := held.Bytes()
	if !held.Whole || int64(len(text)) > limit {
		body.Drain(c)
		return nil, &apierror.Error{Status: http.StatusRequestEntityTooLarge, Code: "request_too_large", Message: "The request body is too large.", Err: ErrInvalid}
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return nil, invalid("invalid_json", "The body is not as it must be: %s", jsonFault(err))
	}
	if d.More() {
		return nil, invalid("invalid_json", "There is more than one value in the body.")
	}
	return text, nil
}

// jsonFault words a decoder's error without what Go calls its types.
func jsonFault(err error) string {
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return "the type of " + kind.Field + " is wrong"
	}
	return err.Error()
}

// maxMetadata are OpenAI's bounds: pairs, and bytes of a key and of a value.
const (
	maxMetadata      = 16
	maxMetadataKey   = 64
	maxMetadataValue = 512
)

func checkMetadata(m map[string]string) error {
	if len(m) > maxMetadata {
		return invalid("invalid_metadata", "metadata can have %d pairs.", maxMetadata)
	}
	for k, v := range m {
		if len(k) > maxMetadataKey || len(v) > maxMetadataValue {
			return invalid("invalid_metadata", "A key of metadata can have %d bytes, a value %d.", maxMetadataKey, maxMetadataValue)
		}
	}
	return nil
}

// check makes a record of a request.
func (q *Queue) check(r *jobRequest, owner, tenant string) (*jobRecord, error) {
	priority, known := parsePriority(r.Priority)
	switch {
	case r.Method != "" && r.Method != http.MethodPost:
		return nil, invalid("invalid_method", "method must be POST.")
	case !slices.Contains(q.cfg.Endpoints, r.URL):
		return nil, invalid("invalid_url", "url must be one of %q.", q.cfg.Endpoints)
	case len(r.Body) == 0 || r.Body[0] != '{':
		return nil, invalid("invalid_body", "body must be a JSON object.")
	case !known:
		return nil, invalid("invalid_priority", "priority must be high, normal or low.")
	case r.ExpiresIn < 0 || r.ExpiresIn > int64(q.cfg.Window/time.Second):
		return nil, invalid("invalid_expires_in", "expires_in must be 1 to %d seconds.", int64(q.cfg.Window/time.Second))
	}
	if f := jsonl.CheckBody(r.Body); f != nil {
		return nil, invalid(f.Code, "%s", f.Message)
	}
	if err := checkMetadata(r.Metadata); err != nil {
		return nil, err
	}
	now := time.Now()
	rec := &jobRecord{
		Owner: owner, Tenant: tenant, Status: statusQueued, Method: http.MethodPost, URL: r.URL, Priority: priority, Metadata: r.Metadata,
		Created: now, Expires: now.Add(q.cfg.Window),
	}
	if r.ExpiresIn > 0 {
		rec.Expires = now.Add(time.Duration(r.ExpiresIn) * time.Second)
	}
	if r.Webhook != nil {
		if err := q.checkWebhook(r.Webhook.URL); err != nil {
			return nil, err
		}
		rec.Webhook = r.Webhook.URL
	}
	return rec, nil
}

// submit takes a job. All of it can be done again with the same ID, so that a client
// whose first try was lost gets the same job by its Idempotency-Key.
func (q *Queue) submit(c *gin.Context) (*jobRecord, error) {
	store, err := q.backend()
	if err != nil {
		return nil, err
	}
	owner, tenant, err := q.owner(c)
	if err != nil {
		return nil, err
	}
	var r jobRequest
	body, err := readBody(c, q.cfg.Limits.JobBytes, &r)
	if err != nil {
		return nil, err
	}
	rec, err := q.check(&r, owner, tenant)
	if err != nil {
		return nil, err
	}
	from, err := q.origin(c)
	if err != nil {
		return nil, err
	}
	ctx := c.Request.Context()
	key, repeated, err := q.claim(ctx, store, c.GetHeader("Idempotency-Key"), owner, body)
	if err != nil {
		return nil, err
	}
	rec.ID = key
	t := &task{Kind: kindJob, Owner: owner, ID: rec.ID, Method: rec.Method, URL: rec.URL, Body: r.Body, Origin: from, Check: repeated}
	return q.enqueue(ctx, store, rec, t)
}

// enqueue writes the record and the task.
func (q *Queue) enqueue(ctx context.Context, store *jet.Store, rec *jobRecord, t *task) (*jobRecord, error) {
	value, err := json.Marshal(rec)
	if err != nil {
		return nil, err
	}
	key := recordKey(jobRecords, rec.Owner, rec.ID)
	if _, err = store.Create(ctx, key, value); errors.Is(err, jet.ErrExists) {
		old, _, err := getJob(ctx, store, rec.Owner, rec.ID)
		if err != nil || old.Status != statusQueued {
			return old, err
		}
		rec = old // perhaps its task was never published
	} else if err != nil {
		return nil, err
	}
	if err := publish(ctx, store, rec.lane(), t); err != nil {
		if errors.Is(err, jet.ErrFull) || errors.Is(err, jet.ErrLaneFull) {
			_ = store.Delete(context.WithoutCancel(ctx), key)
		}
		return nil, err
	}
	if t.Check { // it was counted before
		return rec, nil
	}
	q.emit(ctx, Event{Kind: Queued, ID: rec.ID, Line: -1, Tenant: rec.Tenant, Priority: rec.Priority})
	return rec, nil
}

// usedKey is what an Idempotency-Key stands for.
type usedKey struct {
	ID   string `json:"id"`
	Body string `json:"body"` // its hash
}

// maxIdempotencyKey is the longest in bytes.
const maxIdempotencyKey = 255

// claim returns the ID of the job that a key stands for: a new one, or the one of
// the same request before.
func (q *Queue) claim(ctx context.Context, store *jet.Store, key, owner string, body []byte) (id string, repeated bool, err error) {
	if key == "" {
		return newID(jobPrefix), false, nil
	}
	if len(key) > maxIdempotencyKey {
		return "", false, invalid("invalid_idempotency_key", "Idempotency-Key can have %d bytes.", maxIdempotencyKey)
	}
	use := usedKey{ID: newID(jobPrefix), Body: digest(body)}
	value, err := json.Marshal(use)
	if err != nil {
		return "", false, err
	}
	record := recordKey(usedKeys, owner, digest([]byte(key)))
	_, err = store.Create(ctx, record, value)
	if !errors.Is(err, jet.ErrExists) {
		return use.ID, false, err
	}
	value, _, err = store.Get(ctx, record)
	if err != nil {
		return "", false, err
	}
	var old usedKey
	if err := json.Unmarshal(value, &old); err != nil {
		return "", false, err
	}
	if old.Body != use.Body {
		return "", false, &apierror.Error{Status: http.StatusUnprocessableEntity, Code: "idempotency_key_reused", Message: "The Idempotency-Key was used with another request.", Err: ErrKeyReused}
	}
	return old.ID, true, nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
