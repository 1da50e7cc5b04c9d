package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/jwk"
)

const (
	// firstBackoff and lastBackoff bound the wait after a failed fetch: a provider that has
	// recovered is found within five seconds.
	firstBackoff = time.Second
	lastBackoff  = 4 * time.Second
	// filePoll is the interval at which a key file is checked for changes.
	filePoll = 5 * time.Second
	// jitter is the share of the interval that spreads the refreshes of many gateways.
	jitter = 0.1
)

// KeySetConfig configures a KeySet. Exactly one of URL, Issuer and File is required.
type KeySetConfig struct {
	// URL is the address of a JWK set. It must be https, except on a loopback address.
	URL string
	// Issuer is an OpenID provider with the URL in its discovery document.
	Issuer string
	// File is a file with a JWK set, or with PEM public keys and certificates. NewKeySet
	// reads it.
	File string
	// Client fetches documents, each within 5 s. It follows no redirect to another server
	// unless it has a CheckRedirect. Default: a zero http.Client.
	Client *http.Client
	// Refresh is the interval between fetches, and so how long a withdrawn key is accepted.
	// Default: 30 s, plus up to a tenth; 5 s for a file.
	Refresh time.Duration
	// UnknownKey is the minimum interval between fetches caused by tokens with an unknown
	// key: how long a new key may stay unknown, even while a client makes up key IDs.
	// Default: 4 s.
	UnknownKey time.Duration
	// MaxStale is how long keys are used while fetches fail. Default: 24 h.
	MaxStale time.Duration
	// OnEvent is called after every fetch. Default: none.
	OnEvent func(context.Context, KeysEvent)
}

// KeysEvent describes an update of keys: a fetch of a [KeySet], or a reload of the file of an
// [APIKeys].
type KeysEvent struct {
	// Keys is the number of keys now in use.
	Keys int
	// Err is the reason why the previous keys stay in use; nil after a success.
	Err error
}

// KeySet is a [Keys] of an issuer's public keys. [KeySet.Run] fetches them and follows
// their rotation. Broken or empty responses never replace good keys, and unknown key IDs
// can't cause fetches more often than UnknownKey. With the defaults, while the provider
// responds, a new key is accepted after at most 5 s and a withdrawn one refused after 60 s.
// It is safe for concurrent use.
type KeySet struct {
	cfg    KeySetConfig
	keys   atomic.Pointer[keys]
	nudges chan struct{}

	mu        sync.Mutex
	next      chan struct{} // closed after the next fetch; nil without waiters
	current   chan struct{} // closed after the fetch under way; nil without one
	requested time.Time     // when an unknown key last caused a fetch
	running   bool
	failing   bool // the latest fetch failed: the next one waits for the backoff
}

// keys is an immutable version of a set.
type keys struct {
	list       []jwk.Key
	generation uint64
	fetched    time.Time
	text       string
}

// NewKeySet checks cfg and returns a KeySet. It reads a file at once; Run fetches a URL.
func NewKeySet(cfg KeySetConfig) (*KeySet, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Client = careful(cfg.Client)
	cfg.Refresh = cmp.Or(cfg.Refresh, 30*time.Second)
	cfg.UnknownKey = cmp.Or(cfg.UnknownKey, 4*time.Second)
	cfg.MaxStale = cmp.Or(cfg.MaxStale, 24*time.Hour)
	if cfg.File != "" {
		cfg.Refresh = filePoll
	}
	k := &KeySet{cfg: cfg, nudges: make(chan struct{}, 1)}
	if cfg.File != "" {
		if err := k.load(context.Background()); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func (cfg *KeySetConfig) check() error {
	sources := 0
	var faults []error
	for _, s := range [...]struct{ field, address string }{{"URL", cfg.URL}, {"Issuer", cfg.Issuer}} {
		if s.address == "" {
			continue
		}
		sources++
		if err := checkAddress(s.address); err != nil {
			faults = append(faults, fmt.Errorf("auth: KeySetConfig.%s: %w", s.field, err))
		}
	}
	if cfg.File != "" {
		sources++
	}
	if sources != 1 {
		faults = append(faults, errors.New("auth: KeySetConfig needs exactly one of URL, Issuer and File"))
	}
	for _, d := range [...]struct {
		field string
		value time.Duration
	}{{"Refresh", cfg.Refresh}, {"UnknownKey", cfg.UnknownKey}, {"MaxStale", cfg.MaxStale}} {
		if d.value < 0 {
			faults = append(faults, fmt.Errorf("auth: KeySetConfig.%s is negative", d.field))
		}
	}
	return fault.Join(faults...)
}

// Generation returns a number that changes whenever the keys do.
func (k *KeySet) Generation() uint64 {
	if s := k.keys.Load(); s != nil {
		return s.generation
	}
	return 0
}

// Keys returns the keys with that ID, or all for a token without one, that are for the
// algorithm. If there is none, it waits for one fetch. Without keys, or with keys older
// than MaxStale, the error is [ErrUnavailable].
func (k *KeySet) Keys(ctx context.Context, kid, alg string) ([]any, error) {
	if s := k.fresh(); s != nil {
		if found := s.find(kid, alg); len(found) > 0 {
			return found, nil
		}
	}
	k.await(ctx)
	s := k.fresh()
	if s == nil {
		return nil, fmt.Errorf("%w: there are no current keys", ErrUnavailable)
	}
	return s.find(kid, alg), nil
}

// renewed waits for one fetch and reports whether the keys have changed.
func (k *KeySet) renewed(ctx context.Context) bool {
	before := k.Generation()
	k.await(ctx)
	return k.Generation() != before
}

// fresh returns the keys, or nil if they are too old.
func (k *KeySet) fresh() *keys {
	s := k.keys.Load()
	if s == nil || k.cfg.File == "" && time.Since(s.fetched) > k.cfg.MaxStale {
		return nil
	}
	return s
}

func (s *keys) find(kid, alg string) []any {
	var out []any
	for _, key := range s.list {
		if (kid == "" || key.ID == kid || key.ID == "") && (key.Algorithm == "" || key.Algorithm == alg) {
			out = append(out, key.Public)
		}
	}
	return out
}

// await waits for one fetch: one already requested, or one that may be requested now.
func (k *KeySet) await(ctx context.Context) {
	next := k.request()
	if next == nil {
		return
	}
	select {
	case <-next:
	case <-ctx.Done():
	}
}

// request returns a channel that is closed after the next fetch. If an unknown key has just
// caused one, it is that fetch's channel while it is under way. It returns nil if there is
// nothing to wait for.
func (k *KeySet) request() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch now := time.Now(); {
	case !k.running || k.failing:
		return nil
	case k.next != nil:
		return k.next
	case k.current != nil && k.keys.Load() == nil: // any keys are an improvement
		return k.current
	case !k.requested.IsZero() && now.Sub(k.requested) < k.cfg.UnknownKey:
		return k.current
	default:
		k.requested = now
	}
	k.next = make(chan struct{})
	select {
	case k.nudges <- struct{}{}:
	default: // a fetch is already requested
	}
	return k.next
}

// Run fetches the keys, and again after every Refresh, until ctx ends. It returns nil.
func (k *KeySet) Run(ctx context.Context) error {
	k.setRunning(true)
	defer k.setRunning(false)
	failures := 0
	for {
		k.begin()
		err := k.load(ctx)
		failures++
		if err == nil {
			failures = 0
		}
		k.end(failures > 0)
		if !k.sleep(ctx, failures) {
			return nil
		}
	}
}

// sleep waits for the next fetch. A request for keys shortens the wait, unless the source
// is down. It returns false at the end of ctx.
func (k *KeySet) sleep(ctx context.Context, failures int) bool {
	timer := time.NewTimer(k.pause(failures))
	defer timer.Stop()
	nudges := k.nudges
	if failures > 0 {
		nudges = nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-nudges:
	case <-timer.C:
	}
	return true
}

func (k *KeySet) setRunning(on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running = on
	if !on && k.next != nil {
		close(k.next)
		k.next = nil
	}
}

// begin assigns the waiters to this fetch. Later ones get another fetch, if one is due:
// this one may have read the old keys.
func (k *KeySet) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current, k.next = k.next, nil
	if k.current == nil {
		k.current = make(chan struct{})
	}
	select {
	case <-k.nudges:
	default:
	}
}

// end wakes the waiters. When the source is down it also wakes those of the next fetch,
// which may be far away.
func (k *KeySet) end(failing bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failing = failing
	close(k.current)
	k.current = nil
	if failing && k.next != nil {
		close(k.next)
		k.next = nil
	}
}

// pause returns the wait until the next fetch.
func (k *KeySet) pause(failures int) time.Duration {
	d := k.cfg.Refresh
	if failures > 0 {
		d = min(d, firstBackoff<<min(failures-1, 10), lastBackoff)
	}
	return d + rand.N(time.Duration(jitter*float64(d))+1) //nolint:gosec // spreads load; not a secret
}

// load replaces the keys by those of the source, if they are valid.
func (k *KeySet) load(ctx context.Context) error {
	text, err := k.read(ctx)
	if err == nil {
		err = k.install(text)
	}
	if k.cfg.OnEvent != nil && ctx.Err() == nil {
		e := KeysEvent{Err: err}
		if s := k.keys.Load(); s != nil {
			e.Keys = len(s.list)
		}
		k.cfg.OnEvent(ctx, e)
	}
	return err
}

func (k *KeySet) read(ctx context.Context) ([]byte, error) {
	if k.cfg.File != "" {
		text, err := os.ReadFile(k.cfg.File)
		return withoutMark(text), err
	}
	address := k.cfg.URL
	if k.cfg.Issuer != "" {
		var err error
		if address, err = discover(ctx, k.cfg.Client, k.cfg.Issuer); err != nil {
			return nil, err
		}
	}
	return fetch(ctx, k.cfg.Client, address)
}

func (k *KeySet) install(text []byte) error {
	old := k.keys.Load()
	next := &keys{fetched: time.Now(), text: string(text), generation: 1}
	if old != nil && old.text == next.text {
		next.list, next.generation = old.list, old.generation
		k.keys.Store(next)
		return nil
	}
	list, err := parseKeys(text)
	if err != nil {
		return err
	}
	if old != nil {
		next.generation = old.generation + 1
	}
	next.list = list
	k.keys.Store(next)
	return nil
}
