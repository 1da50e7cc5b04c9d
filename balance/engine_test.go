package balance_test

import (
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// engine is a model server with continuous batching: it reads prompts one after the other, at
// prefill tokens per second, writes up to 32 responses at once, and each of n responses gets a
// token every (1 + 3n/32)/50 s divided by its speed. It caches the part of a conversation that
// it read.
type engine struct {
	speed   float64
	slots   chan struct{}
	reading chan struct{} // prompts are read one after the other
	cache   prefixes

	mu      sync.Mutex
	running int
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

// pace returns the time per token now.
func (e *engine) pace() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	speed := e.speed
	if time.Now().Before(e.stalled) {
		speed /= 20
	}
	return time.Duration(float64(time.Second) / tokenRate * (1 + 3*float64(e.running)/engineSlots) / speed)
}

func (e *engine) run(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running += n
}

// stall makes the engine slow for d, like a garbage collection or a neighbor.
func (e *engine) stall(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stalled = time.Now().Add(d)
}

// serve responds to a question with a stream, after its first token is ready.
func (e *engine) serve(q *question) (*http.Response, error) {
	e.slots <- struct{}{}
	e.run(1)
	if q.prompt > 0 {
		e.reading <- struct{}{}
		left := e.cache.missing(q)
		<-time.After(time.Duration(float64(left) / prefillRate / e.speed * float64(time.Second)))
		q.hit = 1 - float64(left)/float64(q.prompt)
		<-e.reading
	}
	res := response(http.StatusOK, "")
	res.Header.Set("Content-Type", "text/event-stream")
	res.Body, res.ContentLength = &tokens{engine: e, left: q.output}, -1
	return res, nil
}

// tokens is a stream's body: an event each time that a token is due.
type tokens struct {
	engine *engine
	left   int
	once   sync.Once
}

const tokenEvent = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n"

func (b *tokens) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	<-time.After(b.engine.pace())
	b.left--
	return copy(p, tokenEvent), nil
}

func (b *tokens) Close() error {
	b.once.Do(func() {
		b.engine.run(-1)
		<-b.engine.slots
	})
	return nil
}

// question is a turn of a conversation. Its prompt is the system prompt, the earlier turns, and
// the new part.
type question struct {
	system, conversation string
	shared               int // tokens of the system prompt
	prompt, output       int // tokens
	hit                  float64
	first                time.Duration
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

// logNormal draws with a mean and a sigma of the logarithm of 1.
func logNormal(r *rand.Rand, mean float64) int {
	return max(1, int(math.Exp(r.NormFloat64())*mean/math.Exp(0.5)))
}
