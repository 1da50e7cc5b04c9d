package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/fault"
)

// MaxKeep is the longest time that anything is kept, and so how long a purge must be
// remembered.
const MaxKeep = 24 * time.Hour

// Defaults of a [Config].
const (
	// DefaultTTL is how long the response of a model is fresh.
	DefaultTTL = time.Minute
	// DefaultMaxEntry is the largest body that is stored, in bytes.
	DefaultMaxEntry = 1 << 20
	// DefaultMaxRequest is the largest request body that is parsed, in bytes.
	DefaultMaxRequest = 1 << 20
)

// Config configures a Cache. The zero value is valid: then tenants are distinguished by
// their credentials, and inference without credentials is not cached. Negative means off
// where a field says so, and is a fault elsewhere.
type Config struct {
	// Store keeps the entries. Default: a [Memory] of its own.
	Store Store
	// Purges exchanges purges with other replicas; [Cache.Run] must run then. Default: this
	// process only.
	Purges Purges

	// Scope returns the tenant of a request, as auth.Tenant does: scopes do not share
	// entries. A request for which it returns an error is not cached (closed). Default:
	// the Authorization, X-Api-Key, Api-Key and X-Goog-Api-Key headers.
	Scope func(*gin.Context) (string, error)
	// Shared lets all callers share the responses of models. It excludes Scope. Default:
	// false.
	Shared bool
	// Version returns the version of the model that the request is for, for instance by
	// the decision of routing: versions do not share entries. Default: there is only one.
	Version func(*gin.Context) string
	// KeyHeaders are request headers that are part of the key, besides those that always
	// are: Anthropic-Version, Anthropic-Beta, Openai-Beta, Openai-Organization,
	// Openai-Project, Origin, and those that may override host, path or method, such as
	// X-Forwarded-Host. Default: none.
	KeyHeaders []string

	// LLM is the policy for inference: POST with JSON.
	LLM LLM
	// HTTP is the policy for GET and HEAD, by RFC 9111.
	HTTP HTTP
	// Idempotency is the policy for POST and PATCH with an Idempotency-Key.
	Idempotency Idempotency
	// Semantic finds the response to another request with the same meaning. Default: none.
	Semantic Semantic

	// MaxEntry is the largest body that is stored, in bytes. Default: [DefaultMaxEntry].
	MaxEntry int64
	// MaxRequest is the largest request body that is parsed, in bytes; a larger request is
	// not cached. Default: [DefaultMaxRequest].
	MaxRequest int64
	// MaxLag is how far a client of a shared stream may be behind while others are not, in
	// bytes; beyond it the client is dropped. Default: 1 MiB.
	MaxLag int64
	// WriteTimeout bounds one write to a client of a response that is recorded at the same
	// time, or is another's. Default: 10 s. Negative: no bound.
	WriteTimeout time.Duration
	// Beta is how early entries are refreshed before they are stale, so that not all
	// requests miss at once (XFetch): at random, the earlier the longer the upstream takes.
	// Default: 1. Negative: never.
	Beta float64
	// Refreshes is the maximum number of concurrent refreshes in the background. Default:
	// 64. Negative: none.
	Refreshes int
	// RefreshTimeout bounds one refresh. Default: 5 min.
	RefreshTimeout time.Duration
	// Background produces the response of a refresh. It is called with a copy of the
	// context, on which Next does nothing. Default: the last handler of the route, without
	// those between the cache and it.
	Background gin.HandlerFunc

	// Name identifies this cache in Cache-Status. Default: "ginfer".
	Name string
	// ShowKey adds the key of the entry to Cache-Status. Default: false.
	ShowKey bool
	// ErrorHandler responds to requests that the cache refuses. Default: [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
	// OnEvent is called for every decision. Optional.
	OnEvent func(context.Context, Event)
}

// LLM configures the policy for models. Every POST of JSON counts as a request to one. Its
// response is stored if the request is for embeddings, has temperature 0, or opts in, and
// if the response is whole: without an error, a missing end, or a cut by a filter. A
// request with an unknown member is never cached.
type LLM struct {
	// Off switches this policy off. Default: false.
	Off bool
	// TTL is how long a response is fresh. Default: [DefaultTTL].
	TTL time.Duration
	// StaleWhileRevalidate and StaleIfError are how long a stale response may be used
	// during a refresh, and instead of an error. Default: 0, not at all.
	StaleWhileRevalidate, StaleIfError time.Duration
	// ReplicaWait coalesces identical requests across replicas: a request waits for so long
	// until another replica that shares the Store has stored the response to an identical
	// one, and gets it as a whole then. It is sent if there is none by that time, if it
	// failed there, or 30 s after a crash. While the store is down nothing waits. It
	// requires a Store that implements [Claims]. Default: 0, each replica sends its own.
	ReplicaWait time.Duration
	// AllowNonZeroTemperature also stores responses to requests with a non-zero temperature:
	// all callers of a scope get the same one. Default: false.
	AllowNonZeroTemperature bool
	// ToolCalls also stores responses that call a tool. Default: false.
	ToolCalls bool
	// OptIn is a request header by which a client allows ("on") its response to be stored
	// in spite of its temperature, or forbids it ("off"). Default: none.
	OptIn string
	// Fields are more known members of requests that matter, Ignored those that do not.
	// Default: none.
	Fields, Ignored []string
}

// HTTP configures the policy for GET and HEAD. A response is stored only if it allows that,
// by the rules of RFC 9111 for a shared cache: not if it is private, sets a cookie, or its
// request has credentials, unless it is explicitly public. CDN-Cache-Control (RFC 9213)
// replaces Cache-Control and Expires. Explicit freshness counts for errors too. A whole
// stored response serves ranges of bytes (RFC 9110 §14); other ranges are forwarded.
type HTTP struct {
	// Off switches this policy off. Default: false.
	Off bool
	// Heuristic is the share of a response's age, by Last-Modified, for which it is fresh
	// if it has no explicit lifetime. 0.1 is usual. Default: 0, it is not stored.
	Heuristic float64
	// MaxTTL bounds how long anything is fresh. Default: [MaxKeep], which is the maximum.
	MaxTTL time.Duration
	// NegativeTTL is how long 404, 405, 410 and 414, and 400 if it is public, are fresh
	// without an explicit lifetime. At most 10 s. Default: 5 s. Negative: off.
	NegativeTTL time.Duration
	// StaleWhileRevalidate and StaleIfError apply to responses without these directives.
	// Default: 0, not at all.
	StaleWhileRevalidate, StaleIfError time.Duration
	// KeepStale is how long a stale response with a validator is kept, so that a 304 can
	// freshen it. Default: 10 min. Negative: off.
	KeepStale time.Duration
	// StripCookies stores responses that set a cookie, without the cookie. Default: false,
	// they are not stored.
	StripCookies bool
	// IgnoreRequest ignores the Cache-Control of requests, so that clients cannot reach the
	// upstream at will. Default: false.
	IgnoreRequest bool
}

// Idempotency configures the policy for requests with an Idempotency-Key
// (draft-ietf-httpapi-idempotency-key-header): the same key of the same caller gets the
// recorded response, and 422 with another body. Only whole responses with a status below
// 300, and of no more than Config.MaxEntry, are recorded; all others may be retried.
//
// Replicas that share a store which implements [Claims] coordinate: a request waits until
// another replica has recorded its response, and gets all of it then. It is sent again if
// it failed there, or 30 s after a crash. While the store is down each replica is on its
// own (open).
type Idempotency struct {
	// On switches this policy on. Default: false.
	On bool
	// TTL is how long a response is recorded. Default: 1 h, at most [MaxKeep].
	TTL time.Duration
	// Conflict refuses a request with 409 and Retry-After while the first one with its key
	// is under way. Default: false, it gets the same response.
	Conflict bool
	// Required refuses POST and PATCH without a key, with 400. Default: false.
	Required bool
}

// withDefaults sets the defaults and checks the rest.
func (cfg Config) withDefaults() (Config, error) {
	faults := []error{
		cfg.LLM.resolve(), cfg.HTTP.resolve(), cfg.Idempotency.resolve(),
		notNegative("MaxEntry", cfg.MaxEntry), notNegative("MaxRequest", cfg.MaxRequest),
		notNegative("MaxLag", cfg.MaxLag), notNegative("RefreshTimeout", cfg.RefreshTimeout),
	}
	cfg.MaxEntry = cmp.Or(cfg.MaxEntry, DefaultMaxEntry)
	cfg.MaxRequest = cmp.Or(cfg.MaxRequest, DefaultMaxRequest)
	cfg.MaxLag = cmp.Or(cfg.MaxLag, 1<<20)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, 10*time.Second)
	cfg.Beta = cmp.Or(cfg.Beta, 1)
	cfg.Refreshes = cmp.Or(cfg.Refreshes, 64)
	cfg.RefreshTimeout = cmp.Or(cfg.RefreshTimeout, 5*time.Minute)
	cfg.Name = cmp.Or(cfg.Name, "ginfer")
	if !isToken(cfg.Name) {
		faults = append(faults, fmt.Errorf("cache: Config.Name %q is no token", cfg.Name))
	}
	if cfg.Shared && cfg.Scope != nil {
		faults = append(faults, errors.New("cache: Config.Scope and Config.Shared exclude each other"))
	}
	for _, name := range append([]string{cfg.LLM.OptIn}, cfg.KeyHeaders...) {
		if name != "" && !isToken(name) {
			faults = append(faults, fmt.Errorf("cache: Config: %q is no name of a header", name))
		}
	}
	if _, ok := cfg.Store.(Claims); cfg.LLM.ReplicaWait > 0 && !ok {
		faults = append(faults, errors.New("cache: Config.LLM.ReplicaWait requires a Store that implements Claims"))
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = apierror.Abort
	}
	if err := fault.Join(faults...); err != nil {
		return cfg, err
	}
	if cfg.Store == nil {
		memory, err := NewMemory(MemoryConfig{OnEvent: cfg.OnEvent})
		if err != nil {
			return cfg, err
		}
		cfg.Store = memory
	}
	return cfg, nil
}

func (l *LLM) resolve() error {
	l.TTL = cmp.Or(l.TTL, DefaultTTL)
	l.OptIn = http.CanonicalHeaderKey(l.OptIn)
	return fault.Join(
		duration("LLM.TTL", l.TTL, 1, MaxKeep),
		duration("LLM.ReplicaWait", l.ReplicaWait, 0, MaxKeep),
		duration("LLM.StaleWhileRevalidate", l.StaleWhileRevalidate, 0, MaxKeep-l.TTL),
		duration("LLM.StaleIfError", l.StaleIfError, 0, MaxKeep-l.TTL),
	)
}

func (h *HTTP) resolve() error {
	h.MaxTTL = cmp.Or(h.MaxTTL, MaxKeep)
	h.NegativeTTL = cmp.Or(h.NegativeTTL, 5*time.Second)
	h.KeepStale = cmp.Or(h.KeepStale, 10*time.Minute)
	h.NegativeTTL, h.KeepStale = max(h.NegativeTTL, 0), max(h.KeepStale, 0)
	var err error
	if h.Heuristic < 0 || h.Heuristic > 1 {
		err = fmt.Errorf("cache: Config.HTTP.Heuristic %v is not between 0 and 1", h.Heuristic)
	}
	return fault.Join(err,
		duration("HTTP.MaxTTL", h.MaxTTL, 1, MaxKeep),
		duration("HTTP.NegativeTTL", h.NegativeTTL, 0, 10*time.Second),
		duration("HTTP.KeepStale", h.KeepStale, 0, MaxKeep),
		duration("HTTP.StaleWhileRevalidate", h.StaleWhileRevalidate, 0, MaxKeep),
		duration("HTTP.StaleIfError", h.StaleIfError, 0, MaxKeep),
	)
}

func (i *Idempotency) resolve() error {
	i.TTL = cmp.Or(i.TTL, time.Hour)
	return duration("Idempotency.TTL", i.TTL, 1, MaxKeep)
}

func duration(name string, d, least, most time.Duration) error {
	if d < least || d > most {
		return fmt.Errorf("cache: Config.%s %v is not between %v and %v", name, d, least, most)
	}
	return nil
}

func notNegative[T int64 | time.Duration](name string, v T) error {
	if v < 0 {
		return fmt.Errorf("cache: Config.%s is negative", name)
	}
	return nil
}

// isToken reports whether s is a token (RFC 9110 §5.6.2) of letters, digits, -, _ and .
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return s != ""
}
