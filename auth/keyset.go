package auth

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/internal/jwk"
)

const (
	// firstBackoff and lastBackoff bound the wait after a failed fetch: a provider
	// that is back is found within five seconds.
	firstBackoff = time.Second
	lastBackoff  = 4 * time.Second
	// filePoll is how often a key file is looked at.
	filePoll = 5 * time.Second
	// jitter spreads the refreshes of many gateways, as a share of the interval.
	jitter = 0.1
)

// KeySetConfig says where public keys come from: exactly one of URL, Issuer
// and File.
type KeySetConfig struct {
	// URL is that of a JWK set. It must be https, but on a loopback address.
	URL string
	// Issuer is an OpenID provider, whose discovery document names the URL.
	Issuer string
	// File has a JWK set or PEM public keys and certificates. It is read at once.
	File string
	// Client fetches; each document within 5 s at most. Redirects to another server
	// are not followed, unless its CheckRedirect says so. Default: a plain one.
	Client *http.Client
	// Refresh is how often the set is fetched again: how long a withdrawn key is
	// believed. Default 30 s, and a tenth more at most; 5 s for a file.
	Refresh time.Duration
	// UnknownKey is the shortest time between fetches that are made because a
	// token's key is not there: how long a new key may be unknown, also while
	// somebody makes up names of keys. Default 4 s.
	UnknownKey time.Duration
	// MaxStale is how long keys are used when they can't be fetched again.
	// Default 24 h.
	MaxStale time.Duration
	// OnEvent is told of every fetch. Optional.
	OnEvent func(context.Context, KeySetEvent)
}

// KeySetEvent tells of a fetch.
type KeySetEvent struct {
	// Keys is how many there are now.
	Keys int
	// Err is why the keys from before stay.
	Err error
}

// KeySet holds the public keys of an issuer. [KeySet.Run] fetches them and
// follows their rotation: broken or empty answers never replace good keys, and
// unknown key names can't make it fetch more often than UnknownKey. With the
// defaults a new key is good after 5 s at most and a withdrawn one refused after
// 60 s, while the provider answers. It is safe for concurrent use.
type KeySet struct {
	cfg    KeySetConfig
	keys   atomic.Pointer[keys]
	nudges chan struct{}

	mu      sync.Mutex
	next    chan struct{} // closed after the next fetch; nil when nobody waits for it
	current chan struct{} // closed after the one under way; nil when there is none
	asked   time.Time     // when an unknown key last made it fetch
	running bool
	failing bool // the latest fetch failed: the next one comes in its time
}

// keys is one state of a set.
type keys struct {
	list       []jwk.Key
	generation uint64
	fetched    time.Time
	text       string
}

// NewKeySet checks cfg and returns a KeySet. A file is read at once; an URL is
// fetched by Run.
func NewKeySet(cfg KeySetConfig) (*KeySet, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Client = careful(cfg.Client)
	cfg.Refresh = orDefault(cfg.Refresh, 30*time.Second)
	cfg.UnknownKey = orDefault(cfg.UnknownKey, 4*time.Second)
	cfg.MaxStale = orDefault(cfg.MaxStale, 24*time.Hour)
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

func orDefault(v, def time.Duration) time.Duration {
	if v == 0 {
		return def
	}
	return v
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
	if cfg.Refresh < 0 || cfg.UnknownKey < 0 || cfg.MaxStale < 0 {
		faults = append(faults, errors.New("auth: a time in KeySetConfig is negative"))
	}
	return errors.Join(faults...)
}

// Generation changes whenever the keys do.
func (k *KeySet) Generation() uint64 {
	if s := k.keys.Load(); s != nil {
		return s.generation
	}
	return 0
}

// Keys returns the keys that a token's header may mean: those of that name, or
// all for a token that names none, if they are for the algorithm. When there is
// none it waits for one fetch. Without any keys, or with keys that are too old,
// the error is [ErrUnavailable].
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

// renewed waits for one fetch and reports whether the keys are others now.
func (k *KeySet) renewed(ctx context.Context) bool {
	before := k.Generation()
	k.await(ctx)
	return k.Generation() != before
}

// fresh returns the keys, unless they are too old.
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

// await waits for one fetch: one that somebody asked for already, or one that may
// be asked for now.
func (k *KeySet) await(ctx context.Context) {
	next := k.ask()
	if next == nil {
		return
	}
	select {
	case <-next:
	case <-ctx.Done():
	}
}

// ask returns what is closed after the next fetch. When an unknown key has caused
// one just now it is that one, if it is still under way; it is nil when there is
// nothing to wait for.
func (k *KeySet) ask() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch now := time.Now(); {
	case !k.running || k.failing:
		return nil
	case k.next != nil:
		return k.next
	case k.current != nil && k.keys.Load() == nil: // any keys will do
		return k.current
	case !k.asked.IsZero() && now.Sub(k.asked) < k.cfg.UnknownKey:
		return k.current
	default:
		k.asked = now
	}
	k.next = make(chan struct{})
	select {
	case k.nudges <- struct{}{}:
	default: // a fetch is asked for already
	}
	return k.next
}

// Run fetches the keys, and again from time to time, until ctx ends. It returns
// nil then.
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

// sleep waits for the next fetch: shorter when somebody asks, unless the source
// is down. It reports false at the end of ctx.
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

// begin turns those who asked to this fetch. Who asks while it is under way gets
// another, if one is due: this one may have read the old keys.
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

// end wakes those who wait; when the source is down, also those who wait for the
// next fetch, which may be long in coming.
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

// pause is the wait until the next fetch.
func (k *KeySet) pause(failures int) time.Duration {
	d := k.cfg.Refresh
	if failures > 0 {
		d = min(d, firstBackoff<<min(failures-1, 10), lastBackoff)
	}
	return d + rand.N(time.Duration(jitter*float64(d))+1) //nolint:gosec // spreads load, is no secret
}

// load replaces the keys by those of the source, if they are good.
func (k *KeySet) load(ctx context.Context) error {
	text, err := k.read(ctx)
	if err == nil {
		err = k.install(text)
	}
	if k.cfg.OnEvent != nil && ctx.Err() == nil {
		e := KeySetEvent{Err: err}
		if s := k.keys.Load(); s != nil {
			e.Keys = len(s.list)
		}
		k.cfg.OnEvent(ctx, e)
	}
	return err
}

func (k *KeySet) read(ctx context.Context) ([]byte, error) {
	if k.cfg.File != "" {
		return os.ReadFile(k.cfg.File)
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
