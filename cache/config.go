package cache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
)

// MaxKeep is the longest time that anything is kept for, and so how long a purge must be
// remembered.
const MaxKeep = 24 * time.Hour

// Defaults of a [Config].
const (
	// DefaultTTL is how long the answer of a model is fresh.
	DefaultTTL = time.Minute
	// DefaultMaxEntry is the largest body that is kept.
	DefaultMaxEntry = 1 << 20
	// DefaultMaxRequest is the largest request body that is looked at.
	DefaultMaxRequest = 1 << 20
)

// Config says what is cached, for whom, and how. Zero means the default; negative means off
// where a field says so, and is a fault elsewhere. All of it may be left out; then the
// tenants of a model are told apart by their credentials, and a request without any is not
// cached.
type Config struct {
	// Store is where entries are kept. Default: a [Memory] of its own.
	Store Store
	// Purges tells other replicas of purges, and this one of theirs; [Cache.Run] must run
	// then. Default: this process only.
	Purges Purges

	// Scope says whose request it is, as auth.Tenant does: nobody is answered from the
	// entries of another scope. A request that it has an error for is not cached (closed).
	// Default: the Authorization, X-Api-Key, Api-Key and X-Goog-Api-Key headers.
	Scope func(*gin.Context) (string, error)
	// Shared lets all callers share the answers of models. Scope is not asked.
	Shared bool
	// Version says which version of the model will answer, for instance from the
	// decision of routing: the answers of one never stand for those of another. Default:
	// there is only one.
	Version func(*gin.Context) string
	// KeyHeaders are request headers that tell requests apart, besides those that always
	// do: Anthropic-Version, Anthropic-Beta, Openai-Beta, Openai-Organization,
	// Openai-Project, Origin, and those by which a server may be told another host, path
	// or method, such as X-Forwarded-Host.
	KeyHeaders []string

	// LLM is for inference: POST with JSON.
	LLM LLM
	// HTTP is for GET and HEAD, by RFC 9111.
	HTTP HTTP
	// Idempotency is for POST and PATCH with an Idempotency-Key.
	Idempotency Idempotency
	// Semantic finds the answer to another request that asks for the same in other words.
	// Default: none.
	Semantic Semantic

	// MaxEntry is the largest body that is kept, in bytes. Default [DefaultMaxEntry].
	MaxEntry int64
	// MaxRequest is the largest request body that is looked at, in bytes; a larger
	// request is not cached. Default [DefaultMaxRequest].
	MaxRequest int64
	// MaxLag is how far a client that follows another's stream may be behind while others
	// are not, in bytes; then it is cut off. Default 1 MiB.
	MaxLag int64
	// WriteTimeout bounds one write to a client whose answer is recorded meanwhile, or is
	// another's. Default 10 s; negative is no bound.
	WriteTimeout time.Duration
	// Beta is how early entries are refreshed, before they are stale, so that not all
	// requests miss at once (XFetch): at chance, the sooner the longer the upstream takes.
	// Default 1; negative is never.
	Beta float64
	// Refreshes is how many answers are fetched at once without a client that waits for
	// them. Default 64; negative is none.
	Refreshes int
	// RefreshTimeout bounds one of them. Default 5 min.
	RefreshTimeout time.Duration
	// Background makes an answer without a client, for a refresh. It is given a copy of
	// the context, on which Next does nothing. Default: the last handler of the route,
	// without those between the cache and it.
	Background gin.HandlerFunc

	// Name is this cache in Cache-Status. Default "ginfer".
	Name string
	// ShowKey puts the key of the entry into Cache-Status.
	ShowKey bool
	// ErrorHandler answers what can't be answered. Default [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
	// OnEvent is told of every decision. Optional.
	OnEvent func(context.Context, Event)
}

// LLM says which answers of models are kept. Every POST of JSON is taken for a request to
// one. Its answer is kept if it asks for embeddings, has temperature 0, or opts in; and if
// the answer is whole: no error, no end that is missing, no filter that cut it. A request
// with a member that is not known is never cached.
type LLM struct {
	// Off switches this policy off.
	Off bool
	// TTL is for how long an answer is fresh. Default [DefaultTTL].
	TTL time.Duration
	// StaleWhileRevalidate and StaleIfError are for how long a stale answer may be used
	// while a new one is fetched, and when none can be had. Default none.
	StaleWhileRevalidate, StaleIfError time.Duration
	// AllowNonZeroTemperature also keeps answers of requests whose temperature is not 0: all callers of a
	// scope get the same one.
	AllowNonZeroTemperature bool
	// ToolCalls also keeps answers that call a tool.
	ToolCalls bool
	// OptIn is a request header by which a client says that its answer may be kept in
	// spite of its temperature ("on"), or must not be ("off"). Default: there is none.
	OptIn string
	// Fields are more members of requests that matter, Ignored those that do not. They
	// are known then.
	Fields, Ignored []string
}

// HTTP says how GET and HEAD are cached. An answer is kept only if it says that it may
// be, by RFC 9111 as for a cache that many share: not if it is private, sets a cookie,
// or is to a request with credentials, unless it is explicitly public.
type HTTP struct {
	// Off switches this policy off.
	Off bool
	// Heuristic is the part of an answer's age, by Last-Modified, for which one that does
	// not say how long it holds is fresh. 0.1 is usual. Default 0: it is not kept.
	Heuristic float64
	// MaxTTL bounds for how long anything is fresh. Default and at most [MaxKeep].
	MaxTTL time.Duration
	// NegativeTTL is for how long 404, 405, 410 and 414, and 400 if it is public, are
	// fresh when they do not say. At most 10 s. Default 5 s; negative is off.
	NegativeTTL time.Duration
	// StaleWhileRevalidate and StaleIfError hold for answers that do not say. Default
	// none.
	StaleWhileRevalidate, StaleIfError time.Duration
	// KeepStale is for how long a stale answer with a validator is kept, so that it can
	// be made fresh again by a 304. Default 10 min; negative is off.
	KeepStale time.Duration
	// StripCookies keeps answers that set a cookie, without it. Default: they are not
	// kept.
	StripCookies bool
	// IgnoreRequest ignores what the Cache-Control of requests says, so that clients
	// can't reach the upstream at will. Default: it counts.
	IgnoreRequest bool
}

// Idempotency says how requests with an Idempotency-Key are treated
// (draft-ietf-httpapi-idempotency-key-header): the same caller's same key gets the
// recorded answer, and 422 with another body. Only whole answers with a status below 300,
// and of no more than Config.MaxEntry, are recorded; everything else may be tried again. Replicas that share a store which is
// [Claims] also know what is under way at another: a request waits until the answer is
// recorded there, and has it then as a whole, or is begun again when it failed there, 30 s
// after a crash. While the store is down each replica is on its own (open).
type Idempotency struct {
	// On switches it on.
	On bool
	// TTL is for how long an answer is recorded. Default 1 h, at most [MaxKeep].
	TTL time.Duration
	// Conflict answers a request with 409 and Retry-After while the first one with its key
	// is under way.
	// Default: it gets the same answer.
	Conflict bool
	// Required refuses POST and PATCH without a key, with 400.
	Required bool
}

// withDefaults fills in what was left out, and finds what is wrong.
func (cfg Config) withDefaults() (Config, error) {
	faults := []error{
		cfg.LLM.resolve(), cfg.HTTP.resolve(), cfg.Idempotency.resolve(),
		notNegative("MaxEntry", cfg.MaxEntry), notNegative("MaxRequest", cfg.MaxRequest),
		notNegative("MaxLag", cfg.MaxLag), notNegative("RefreshTimeout", cfg.RefreshTimeout),
	}
	orDefault(&cfg.MaxEntry, DefaultMaxEntry)
	orDefault(&cfg.MaxRequest, DefaultMaxRequest)
	orDefault(&cfg.MaxLag, 1<<20)
	orDefault(&cfg.WriteTimeout, 10*time.Second)
	orDefault(&cfg.Beta, 1)
	orDefault(&cfg.Refreshes, 64)
	orDefault(&cfg.RefreshTimeout, 5*time.Minute)
	orDefault(&cfg.Name, "ginfer")
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
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = apierror.Abort
	}
	if err := errors.Join(faults...); err != nil {
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
	orDefault(&l.TTL, DefaultTTL)
	l.OptIn = http.CanonicalHeaderKey(l.OptIn)
	return errors.Join(
		duration("LLM.TTL", l.TTL, 1, MaxKeep),
		duration("LLM.StaleWhileRevalidate", l.StaleWhileRevalidate, 0, MaxKeep-l.TTL),
		duration("LLM.StaleIfError", l.StaleIfError, 0, MaxKeep-l.TTL),
	)
}

func (h *HTTP) resolve() error {
	orDefault(&h.MaxTTL, MaxKeep)
	orDefault(&h.NegativeTTL, 5*time.Second)
	orDefault(&h.KeepStale, 10*time.Minute)
	h.NegativeTTL, h.KeepStale = max(h.NegativeTTL, 0), max(h.KeepStale, 0)
	var err error
	if h.Heuristic < 0 || h.Heuristic > 1 {
		err = fmt.Errorf("cache: Config.HTTP.Heuristic %v is not between 0 and 1", h.Heuristic)
	}
	return errors.Join(err,
		duration("HTTP.MaxTTL", h.MaxTTL, 1, MaxKeep),
		duration("HTTP.NegativeTTL", h.NegativeTTL, 0, 10*time.Second),
		duration("HTTP.KeepStale", h.KeepStale, 0, MaxKeep),
		duration("HTTP.StaleWhileRevalidate", h.StaleWhileRevalidate, 0, MaxKeep),
		duration("HTTP.StaleIfError", h.StaleIfError, 0, MaxKeep),
	)
}

func (i *Idempotency) resolve() error {
	orDefault(&i.TTL, time.Hour)
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

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// isToken: a name by RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return s != ""
}
