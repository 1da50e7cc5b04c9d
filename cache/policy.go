package cache

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/cache/internal/cachekey"
	"github.com/ginfer/ginfer/cache/internal/flight"
	"github.com/ginfer/ginfer/cache/internal/rfc9111"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/ginfer/ginfer/internal/upgrade"
)

// policy is a set of rules for requests. Its text is its name. The exchange does what a
// policy decides; a policy sees the request only.
type policy interface {
	fmt.Stringer
	reading
	recording
}

// reading is how entries are used.
type reading interface {
	// judge decides how an entry is used. An error refuses the request.
	judge(r *request, e *Entry, now time.Time) (verdict, error)
	// render makes a reply of an entry in the form that the client wants, if possible.
	render(r *request, e *Entry, now time.Time) (reply, bool)
	// fits decides how a request can follow a flight: live, stored if only after its end,
	// again or alone if not at all.
	fits(r *request, of *shared, head *flight.Head) flight.Outcome
}

// recording is how entries are made.
type recording interface {
	// outgoing returns the request for the upstream. Stale is the entry that a 304 would
	// freshen, or nil.
	outgoing(r *request, stale *Entry) *http.Request
	// admit decides about the head of a response, and removes from it what concerns the
	// leader only.
	admit(r *request, res *response) admission
	// conclude makes an entry of a whole response, or returns why not.
	conclude(r *request, res *response) (e *Entry, reason string)
}

// request is what a policy knows of a request.
type request struct {
	incoming *http.Request
	start    time.Time // when it arrived, or when the upstream was requested

	key     string // in the store
	base    cachekey.Key
	scope   cachekey.Key
	model   string
	version string
	mark    string // what an entry must have been made for, besides the key
	refetch bool   // the client refuses entries, but the response may be stored

	api    llm.API
	stream bool // wanted
	usage  bool // wanted, at the end of the stream
	query  *Query

	control     rfc9111.Control
	conditional bool     // 304 is a possible response
	ranged      bool     // the client wants ranges of bytes
	vary        []string // by which the responses vary, if they do
	variant     string   // the mark of the note that says so
}

// response is what a policy knows of a response that is recorded.
type response struct {
	*flight.Head
	lastAttempt bool
	entry       *Entry       // without status and body, from admit
	body        []byte       // whole, for conclude
	summary     *llm.Summary // of the body, if the attempt read it
}

// admission is what a policy decides about the head of a response.
type admission struct {
	share  flight.Outcome
	reason string   // why it will not be stored
	entry  *Entry   // passed to conclude
	varies bool     // there are several responses to the request
	vary   []string // by these headers
}

// verdict is how an entry is used.
type verdict struct {
	use      bool
	refresh  bool   // refresh it in the background
	validate bool   // the upstream may confirm it
	detail   string // a word for Cache-Status
}

// reply is what a client gets from an entry.
type reply struct {
	status int
	header http.Header // shared: must not be changed
	body   []byte
	age    time.Duration
}

// notMine is the reason that leaves a request to another policy.
const notMine = "not-mine"

// plan chooses the policy of a request and computes its key. A reason bypasses the cache.
func (x *exchange) plan() (reason string, err error) {
	b := x.keys.Get()
	defer x.keys.Put(b)
	x.status.Forward = "bypass"
	switch x.incoming.Method {
	case http.MethodGet, http.MethodHead:
		if x.cfg.HTTP.Off {
			return "off", nil
		}
		return x.planHTTP(b)
	case http.MethodPost, http.MethodPatch:
		if x.cfg.Idempotency.On {
			if reason, err := x.planIdempotency(b); err != nil || reason != notMine {
				return reason, err
			}
		}
	}
	switch {
	case x.incoming.Method != http.MethodPost:
		x.status.Forward = "method"
		return "method", nil
	case x.cfg.LLM.Off:
		return "off", nil
	case !isJSON(x.incoming.Header.Get("Content-Type")) || x.incoming.Header.Get("Content-Encoding") != "":
		return "not-json", nil
	case upgrade.Requested(x.incoming):
		return "upgrade", nil
	}
	return x.planLLM(b)
}

func isJSON(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	mediaType = strings.TrimSpace(mediaType)
	return strings.EqualFold(mediaType, "application/json") || len(mediaType) > 5 && strings.EqualFold(mediaType[len(mediaType)-5:], "+json")
}

// ownBody returns the whole body of a request, and finds its scope. A reason bypasses the
// cache.
func (x *exchange) ownBody(b *cachekey.Builder) (text []byte, reason string, err error) {
	held, err := body.Hold(x.g)
	if err != nil {
		return nil, "", err
	}
	switch {
	case !held.Whole || int64(max(held.Len(), len(held.Bytes()))) > x.cfg.MaxRequest:
		return nil, "request-too-long", nil
	case held.Err() != nil:
		return nil, "request-unreadable", nil //nolint:nilerr // it bypasses the cache
	case !x.findScope(x.g, &x.request, b):
		return nil, "no-scope", nil
	}
	return held.Bytes(), "", nil
}

// findScope sets the scope of a request. It reports false if the scope is unknown.
func (c *Cache) findScope(g *gin.Context, r *request, b *cachekey.Builder) bool {
	if c.cfg.Shared {
		return true
	}
	if c.cfg.Scope != nil {
		name, err := c.cfg.Scope(g)
		r.scope = hashScope(name)
		return err == nil
	}
	b.Reset()
	b.Add("credentials")
	some := b.AddCredentials(r.incoming.Header)
	r.scope = b.Sum()
	return some
}

// findVersion sets the version that the request is for.
func (c *Cache) findVersion(g *gin.Context, r *request) {
	if c.cfg.Version != nil {
		r.version = c.cfg.Version(g)
	}
}

// beginKey begins a key with the parts that all have: kind, scope, version, path and query.
func (c *Cache) beginKey(b *cachekey.Builder, kind string, r *request) {
	b.Reset()
	b.Add(kind)
	b.AddBytes(r.scope[:])
	b.Add(r.version)
	b.AddPath(r.incoming, c.keyHeaders)
}

// setKey sets the key of a request, and the one to show, which purges do not change.
func (x *exchange) setKey(base cachekey.Key) {
	x.base = base
	x.key, x.status.Key = x.generations.key(&base, &x.request)
}

// notModified reports whether the client has the response already.
func (r *request) notModified(status int, header http.Header) bool {
	return r.conditional && rfc9111.NotModified(r.incoming.Header, status, header)
}

// allowsStale reports whether a stale entry may replace an error.
func (r *request) allowsStale(e *Entry, now time.Time) bool {
	return !e.MustRevalidate && !e.Validate && now.Before(e.FreshUntil.Add(e.StaleIfError)) && !r.control.NoCache
}

// usageFilter removes the usage from a stream for a client that did not request it. It is
// nil if there is nothing to remove.
func (r *request) usageFilter(h http.Header) *llm.Unusaged {
	if !r.stream || r.usage || !r.api.HasStreamOptions() || !isStream(h) || llm.Encoded(h) {
		return nil
	}
	return &llm.Unusaged{}
}

// isFailure reports whether another attempt or a stale entry may be better.
func isFailure(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, apierror.StatusClientClosed:
		return true
	}
	return status >= http.StatusInternalServerError
}
