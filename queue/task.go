package queue

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/queue/internal/jet"
)

// kindJob and kindLine are the kinds of tasks, kindHook that of webhooks.
const (
	kindJob  = "job"
	kindLine = "line"
	kindHook = "webhook"
)

// task is what lies in a lane: one request.
type task struct {
	// Kind is job or line; ID the job's or batch's; Slot its round or line.
	Kind  string `json:"kind"`
	Owner string `json:"owner"`
	ID    string `json:"id"`
	Slot  int    `json:"slot"`
	// Check says that the task may have been done before.
	Check    bool            `json:"check,omitempty"`
	CustomID string          `json:"custom_id,omitempty"`
	Method   string          `json:"method"`
	URL      string          `json:"url"`
	Body     json.RawMessage `json:"body"`
	// Origin is who sent it; a line's is its batch's.
	Origin *origin `json:"origin,omitempty"`
}

// name is the task's, for logs, and the same at each try.
func (t *task) name() string { return t.ID + "-" + strconv.Itoa(t.Slot) }

// line is the number for events.
func (t *task) line() int {
	if t.Kind == kindLine {
		return t.Slot
	}
	return -1
}

// origin is what is kept of the request that brought a task.
type origin struct {
	Identity []byte      `json:"identity,omitempty"`
	Header   http.Header `json:"header,omitempty"`
	Remote   string      `json:"remote,omitempty"`
}

// maxIdentity bounds what Config.Identity returns.
const maxIdentity = 64 << 10

// origin takes down who sends a request.
func (q *Queue) origin(c *gin.Context) (*origin, error) {
	o := &origin{Remote: c.Request.RemoteAddr}
	for _, name := range q.cfg.Headers {
		if v := c.Request.Header.Values(name); len(v) > 0 {
			if o.Header == nil {
				o.Header = http.Header{}
			}
			o.Header[http.CanonicalHeaderKey(name)] = v
		}
	}
	if q.cfg.Identity == nil {
		return o, nil
	}
	id, err := q.cfg.Identity(c)
	if err != nil {
		return nil, err
	}
	if len(id) > maxIdentity {
		return nil, invalid("identity_too_large", "The caller's identity is too large to be kept.")
	}
	o.Identity = id
	return o, nil
}

// owner says whose what a request names is, and between whom workers are shared.
func (q *Queue) owner(c *gin.Context) (owner, tenant string, err error) {
	if owner, err = q.cfg.Owner(c); err != nil {
		return "", "", err
	}
	if tenant, err = q.cfg.Tenant(c); err != nil {
		return "", "", err
	}
	if owner == "" || len(owner) > nameLimit || tenant == "" || len(tenant) > nameLimit {
		return "", "", invalid("no_owner", "It can't be told whose this is.")
	}
	return owner, tenant, nil
}

// publish puts a task into its lane and tells the workers.
func publish(ctx context.Context, store *jet.Store, lane jet.Lane, t *task) error {
	payload, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if err := store.Publish(ctx, lane, t.name(), payload); err != nil {
		return err
	}
	store.Notify(laneNews, laneWord(lane))
	return nil
}

func laneWord(l jet.Lane) string { return strconv.Itoa(l.Class) + "." + l.Tenant }

type contextKey struct{}

// Info says which task a request belongs to.
type Info struct {
	// ID is the job's or batch's; Line, of a batch, the line from 0, otherwise -1.
	ID   string
	Line int
	// Tenant is whose it is, Attempt which try this is, from 1.
	Tenant  string
	Attempt int
	// Priority is the task's.
	Priority Priority
}

// FromContext says whether a request comes from the queue, and what it is. Handlers
// can let live traffic go first by it.
func FromContext(ctx context.Context) (Info, bool) {
	i, ok := ctx.Value(contextKey{}).(Info)
	return i, ok
}
