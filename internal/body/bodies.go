package body

import (
	"context"
	"hash/maphash"
	"math"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/ginfer/ginfer/internal/ginctx"
)

const (
	// DefaultLimit is the default bound of one body, in bytes.
	DefaultLimit = 32 << 20
	// defaultShare is the default part of the budget that one caller may use.
	defaultShare = 0.25
	// minBudget is the smallest default budget, in bytes.
	minBudget = 256 << 20
)

// Config configures Bodies. Zero values select the defaults.
type Config struct {
	Limit, Budget int64
	Share         float64
}

// Bodies limits the memory for request bodies: each one, and all of them together. It is
// safe for concurrent use.
type Bodies struct {
	limit int64
	*pool
}

// pool is a budget that several Bodies may share.
type pool struct {
	budget, share int64

	mu        sync.Mutex
	used      int64
	anonymous int64            // the part of used that unauthenticated callers hold
	callers   map[caller]int64 // the parts of used by caller
}

// New returns Bodies.
func New(cfg Config) *Bodies {
	if cfg.Limit == 0 {
		cfg.Limit = DefaultLimit
	}
	if cfg.Budget == 0 {
		cfg.Budget = max(memory()/4, minBudget)
	}
	if cfg.Share == 0 {
		cfg.Share = defaultShare
	}
	p := &pool{budget: cfg.Budget, share: int64(float64(cfg.Budget) * cfg.Share), callers: map[caller]int64{}}
	return p.within(cfg.Limit)
}

// Within returns Bodies with another bound per body and the same budget.
func (b *Bodies) Within(limit int64) *Bodies { return b.within(limit) }

func (p *pool) within(limit int64) *Bodies { return &Bodies{min(limit, math.MaxInt64/2), p} }

// Limit returns the bound of one body, in bytes.
func (b *Bodies) Limit() int64 { return b.limit }

// Used returns the number of bytes in use.
func (p *pool) Used() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// memory returns the process's memory limit, in bytes; 0: unknown.
func memory() int64 {
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return limit
	}
	limit, err := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)()
	if err != nil {
		return 0
	}
	return int64(min(limit, math.MaxInt64))
}

// standard serves requests that have passed no middleware.
//
//nolint:gochecknoglobals // one budget for the process, as its memory is one
var standard = sync.OnceValue(func() *Bodies { return New(Config{}) })

// caller identifies the sender of a body: an identity, or the address if there is none.
type caller struct {
	key   uint64
	known bool
}

// record counts the memory of one request.
type record struct {
	bodies  *Bodies
	tracked *tracked // the server's body; nil: what others read is not known

	mu     sync.Mutex
	caller caller
	held   int64
	ended  bool
	free   bool // nothing is counted: nothing marks the request's end
	leases bool // the request ends after everything that reads its body, but what has it open
	lent   []*Held
}

type recordKey struct{}

// With returns a context that keeps the bodies of its requests within b, and a function to call
// when the request ends.
func With(ctx context.Context, b *Bodies) (out context.Context, end func()) {
	r := &record{bodies: b}
	return context.WithValue(ctx, recordKey{}, r), r.end
}

// Track returns a request within b, and a function to call when it ends. What other handlers read
// of its body is known from then on.
func Track(req *http.Request, b *Bodies) (out *http.Request, end func()) {
	ctx, end := With(req.Context(), b)
	out = req.WithContext(ctx)
	if isEmpty(req) {
		return out, end
	}
	r, _ := recordOf(out, true)
	if before, ok := ginctx.Value(req.Context(), recordKey{}).(*record); ok && before.tracked != nil {
		r.tracked = before.tracked
		return out, end
	}
	r.leases = true
	if _, held := req.Body.(holder); !held {
		r.tracked = &tracked{ReadCloser: req.Body}
		out.Body = r.tracked
	}
	return out, end
}

// From returns the limits that apply in a context: the process's default unless With set others.
func From(ctx context.Context) *Bodies {
	if r, ok := ginctx.Value(ctx, recordKey{}).(*record); ok {
		return r.bodies
	}
	return standard()
}

// recordOf returns a request's record, or a new one. A new one ends with the request's
// context unless its owner ends it.
func recordOf(req *http.Request, owned bool) (r *record, isNew bool) {
	ctx := req.Context()
	if r, ok := ginctx.Value(ctx, recordKey{}).(*record); ok {
		r.by(req)
		return r, false
	}
	r = &record{bodies: standard(), free: !owned && ctx.Done() == nil}
	r.by(req)
	if !owned {
		context.AfterFunc(ctx, r.end)
	}
	return r, true
}

// uncounted returns a record for bodies that other code keeps in memory.
func uncounted() *record { return &record{free: true} }

//nolint:gochecknoglobals // of this process alone
var seed = maphash.MakeSeed()

// Caller returns the key of an identity, for [Identity].BodyKey.
func Caller(issuer, subject string) uint64 {
	return maphash.Comparable(seed, [2]string{issuer, subject})
}

// IdentityKey is the context key under which an [Identity] may be found.
type IdentityKey struct{}

// Identity is an authenticated caller.
type Identity interface {
	// BodyKey returns the result of [Caller].
	BodyKey() uint64
}

// by sets the caller from the identity, else the address, unless it is known already.
func (r *record) by(req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.caller.known {
		return
	}
	if id, ok := ginctx.Value(req.Context(), IdentityKey{}).(Identity); ok {
		r.become(caller{id.BodyKey(), true})
		return
	}
	if r.caller == (caller{}) {
		r.caller.key = OfAddress(req.RemoteAddr)
	}
}

// OfAddress returns the key of an address, with or without a port. Of IPv6 only the first 64
// bits count, which are one customer's.
func OfAddress(remote string) uint64 {
	at, err := netip.ParseAddrPort(remote)
	addr := at.Addr()
	if err != nil {
		addr, err = netip.ParseAddr(remote)
	}
	if err != nil {
		return maphash.String(seed, remote)
	}
	addr = addr.Unmap()
	b := addr.As16()
	if !addr.Is4() {
		clear(b[8:])
	}
	return maphash.Bytes(seed, b[:])
}

// become moves what is counted to another caller.
func (r *record) become(c caller) {
	if !r.free && !r.ended && r.held > 0 {
		r.bodies.give(r.caller, r.held)
		r.bodies.take(c, r.held, true)
	}
	r.caller = c
}

// take counts n more bytes, or reports false if there is no room for them.
func (r *record) take(n int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.free || r.ended {
		return true
	}
	if !r.bodies.take(r.caller, n, false) {
		return false
	}
	r.held += n
	return true
}

// give counts n bytes less.
func (r *record) give(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.free || r.ended {
		return
	}
	r.held -= n
	r.bodies.give(r.caller, n)
}

// end returns everything to the budget. It may be called twice.
func (r *record) end() {
	r.mu.Lock()
	lent, ended := r.lent, r.ended
	r.lent, r.ended = nil, true
	if !ended && r.held > 0 {
		r.bodies.give(r.caller, r.held)
	}
	r.mu.Unlock()
	for _, h := range lent {
		h.lease.release()
	}
}

// lend releases the lease of h at the end of the request.
func (r *record) lend(h *Held) {
	if h.lease == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended { // else it is never released: something may have it open
		r.lent = append(r.lent, h)
	}
}

func (p *pool) take(c caller, n int64, forced bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !forced && (p.used+n > p.budget || p.callers[c]+n > p.share || !c.known && p.anonymous+n > p.share) {
		return false
	}
	p.used += n
	p.callers[c] += n
	if !c.known {
		p.anonymous += n
	}
	return true
}

func (p *pool) give(c caller, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= n
	if p.callers[c] -= n; p.callers[c] == 0 {
		delete(p.callers, c)
	}
	if !c.known {
		p.anonymous -= n
	}
}
