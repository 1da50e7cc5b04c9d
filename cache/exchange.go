package cache

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache/internal/directive"
	"github.com/ginfer/ginfer/internal/llm"
)

// plan is what is known of a request before it is answered.
type plan struct {
	policy  policy
	base    [sha256.Size]byte // its key, before generations
	scope   [sha256.Size]byte
	model   string
	version string
	mark    string // what else an entry must have been made for
	refetch bool   // the client wants no entry, but an answer may be stored

	api    llm.API
	stream bool // wanted
	usage  bool // wanted, at the end of the stream
	query  *Query

	control directive.Control // of the request
	vary    []string          // if the answers vary: by what
	variant string            // the mark of the note that said so
	life    *life             // of the leader's answer
}

// exchange is one request on its way through the cache.
type exchange struct {
	*Cache
	plan
	g      *gin.Context
	w      gin.ResponseWriter // the client's
	client context.Context    //nolint:containedctx // the client's: it ends when the client leaves
	req    *http.Request
	inner  statusContext
	values [3]string // of the header of a hit
	synced bool      // purges by others are known, so that the store may be asked
	status Status
	key    string // in the store; that in status is the same but for generations
	start  time.Time
}

// policy is a set of rules. As a text it is its name.
type policy interface {
	fmt.Stringer
	reading
	recording
}

// reading is how entries are used.
type reading interface {
	// judge says what an entry is good for. An error refuses the request.
	judge(x *exchange, e *Entry, now time.Time) (verdict, error)
	// render makes an answer of an entry, in the form that is wanted, if it can.
	render(x *exchange, e *Entry, now time.Time) (rendered, bool)
	// fits says how a request can follow a flight: live, stored when it can do so at the
	// end, or again or alone when it can't.
	fits(x *exchange, f *flight) outcome
}

// recording is how they are made.
type recording interface {
	// outgoing is the request that goes to the upstream. Stale is an entry that a 304
	// would make fresh again, or nil.
	outgoing(x *exchange, stale *Entry) *http.Request
	// admit looks at the head of an answer, and takes out of it what is the leader's own:
	// may others have it, and why will it not be stored, if so?
	admit(x *exchange, f *flight, h *head) (share outcome, reason string)
	// conclude makes an entry of a whole answer, or says why not.
	conclude(x *exchange, f *flight, body []byte) (e *Entry, reason string)
}

// rendered is an answer that is ready to be sent.
type rendered struct {
	status int
	header http.Header // shared: not to be changed
	body   []byte
	age    time.Duration
}

// verdict is what an entry is good for.
type verdict uint8

const (
	useless verdict = iota
	use             // answer from it
	useAndRefresh
	validate // ask the upstream whether it still holds
)

// usable reports whether a request is answered from an entry.
func (v verdict) usable() bool { return v == use || v == useAndRefresh }

// at puts the exchange on the key of a base.
func (x *exchange) at(base [sha256.Size]byte) {
	shown := encodeKey(&base)
	x.key = shown
	if x.generations.apply(&base, &x.plan) {
		x.key = encodeKey(&base)
	}
	x.status.Key = shown
}

// event is one about this request.
func (x *exchange) event(kind Kind) Event {
	e := Event{Kind: kind, Key: x.status.Key, Model: x.model, Version: x.version}
	if x.policy != nil {
		e.Policy = x.policy.String()
	}
	return e
}

// bypass lets the request pass as if there were no cache.
func (x *exchange) bypass(forward, reason string) {
	x.status.Forward, x.status.Detail = forward, reason
	e := x.event(Bypassed)
	e.Reason = reason
	x.tell(x.client, e)
	x.pass()
}

// pass lets the handlers answer, and marks the llm.
func (x *exchange) pass() {
	s := &stamp{ResponseWriter: x.w, x: x}
	x.g.Writer = s
	defer func() {
		if x.g.Writer == s {
			x.g.Writer = x.w
		}
	}()
	x.g.Next()
	s.mark()
	x.invalidate(x.w.Status())
}

// refuse answers with an error.
func (x *exchange) refuse(err error) {
	x.putMark(x.w.Header())
	x.g.Abort() // whatever the handler does
	x.cfg.ErrorHandler(x.g, err)
}
