package balance_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// engine is a model server with continuous batching: it reads prompts one after the other, at
// prefillRate tokens per second, writes up to 32 responses at once, and each of n responses gets a
// token every (1 + 3n/32)/50 s divided by its speed. It caches the part of a conversation that
// it read.
type engine struct {
	speed   float64
	slots   chan struct{}
	reading chan struct{} // prompts are read one after the other
	cache   prefixes

	mu      sync.Mutex
	running int
	most    int // running and waiting at once
	waiting int
	stalled time.Time // until then it is at a twentieth of its speed
}

const (
	engineSlots = 32
	tokenRate   = 50   // tokens per second of a single stream
	prefillRate = 4000 // tokens per second
)

func newEngine(speed float64, cached int) *engine {
	return &engine{speed: speed, slots: make(chan struct{}, engineSlots), reading: make(chan struct{}, 1), cache: prefixes{room: cached}}
}

// now returns the engine's speed, and the number of responses that it writes.
func (e *engine) now() (speed float64, running int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	speed = e.speed
	if time.Now().Before(e.stalled) {
		speed /= 20
	}
	return speed, e.running
}

// pace returns the time per token now.
func (e *engine) pace() time.Duration {
	speed, running := e.now()
	return time.Duration(float64(time.Second) / tokenRate * (1 + 3*float64(running)/engineSlots) / speed)
}

func (e *engine) count(running, waiting int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running += running
	e.waiting += waiting
	e.most = max(e.most, e.running+e.waiting)
}

// stall makes the engine slow for d, like a garbage collection or a neighbor.
func (e *engine) stall(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stalled = time.Now().Add(d)
}

// stalling halts the engine for 3 s about once a minute.
func (e *engine) stalling(r *rand.Rand, done chan struct{}) {
	for {
		select {
		case <-time.After(time.Duration(r.ExpFloat64() * float64(time.Minute))):
			e.stall(time.Duration(r.ExpFloat64() * float64(3*time.Second)))
		case <-done:
			return
		}
	}
}

// serve responds to a question with a stream, after its first token is ready.
func (e *engine) serve(ctx context.Context, q *question) (*http.Response, error) {
	if err := e.enter(ctx); err != nil {
		return nil, err
	}
	if err := e.read(ctx, q); err != nil {
		e.leave()
		return nil, err
	}
	res := response(http.StatusOK, "")
	res.Header.Set("Content-Type", "text/event-stream")
	res.Body, res.ContentLength = &tokens{ctx: ctx, engine: e, left: q.output}, -1
	return res, nil
}

func (e *engine) enter(ctx context.Context) error {
	e.count(0, 1)
	defer e.count(0, -1)
	select {
	case e.slots <- struct{}{}:
		e.count(1, 0)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *engine) leave() {
	e.count(-1, 0)
	<-e.slots
}

// read takes the time that the part of a prompt takes which is not cached.
func (e *engine) read(ctx context.Context, q *question) error {
	if q.prompt == 0 {
		return nil
	}
	select {
	case e.reading <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-e.reading }()
	missing := e.cache.missing(q)
	q.cached.Store(int64(q.prompt - missing))
	const chunk = 256
	for left := missing; left > 0; left -= chunk {
		speed, _ := e.now()
		select {
		case <-time.After(time.Duration(float64(min(left, chunk)) / prefillRate / speed * float64(time.Second))):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// tokens is a stream's body: an event each time that a token is due.
type tokens struct {
	ctx    context.Context //nolint:containedctx // a body that ends with its request
	engine *engine
	left   int
	once   sync.Once
}

const tokenEvent = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n"

func (b *tokens) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(b.engine.pace()):
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
	b.left--
	return copy(p, tokenEvent), nil
}

func (b *tokens) Close() error {
	b.once.Do(b.engine.leave)
	return nil
}

// prefixes is an engine's cache, the latest used last.
type prefixes struct {
	room int
	list []prefix
}

type prefix struct {
	name   string
	tokens int
}

// missing returns the number of tokens of a prompt that must be read, and caches them.
func (p *prefixes) missing(q *question) int {
	had := max(p.use(q.system, q.shared), p.use(q.conversation, q.prompt))
	total := 0
	for i, e := range slices.Backward(p.list) {
		if total += e.tokens; total > p.room {
			p.list = p.list[i+1:]
			break
		}
	}
	return q.prompt - min(had, q.prompt)
}

// use returns the cached length of a prefix, and puts it last with its new length.
func (p *prefixes) use(name string, tokens int) (had int) {
	for i := range p.list {
		if p.list[i].name == name {
			had = p.list[i].tokens
			p.list = append(p.list[:i], p.list[i+1:]...)
			break
		}
	}
	p.list = append(p.list, prefix{name, max(tokens, had)})
	return had
}
