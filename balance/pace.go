package balance

import (
	"container/list"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bodies "github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
)

const (
	// paceMemory is the time in which what was seen of an endpoint's streams fades to 1/e.
	paceMemory = 500 * time.Millisecond
	// paceEvery is how old what picks compare may be.
	paceEvery = 50 * time.Millisecond
	// pacePrior is how many seconds of a stream at the mean rate every endpoint is given:
	// one without streams has that, and a single gap says little.
	pacePrior = 0.25
	// fastest bounds how much faster than the mean an endpoint may look: what a slow
	// client left in a connection's buffer is read at any speed.
	fastest = 4
	// patience is how long anybody may wait for a first event, and the longest silence that
	// one stream, on average, is believed to show an endpoint's: longer it may be its own.
	patience = time.Second
	// longest bounds the age in the line for a first event, and how long a wait for another
	// was: an endpoint is asked again some time, or nobody would see that only that one stream
	// was stuck.
	longest = 10 * patience
	// faintest is the mean, in events a second, below which nothing is known of streams.
	faintest = 1e-3
	// atOnce is how soon comes what was in a buffer.
	atOnce = 100 * time.Microsecond
)

// pace is how fast the streams of an endpoint are, as seen from here: events for each
// second that a stream waited for one, and how long the eldest waits for its first.
type pace struct {
	mu      sync.Mutex
	waiting list.List // of int64: when streams were asked for that have no event yet, nor were overtaken
	events  float64
	seconds float64
	faded   int64 // when both were
	blocked int64 // streams that are read at this moment, whose next event is late or not
	since   int64 // the sum of when they began to

	factor atomic.Uint64 // float64: how many times slower than the mean; for picks
}

// ask notes that a stream was asked for.
func (p *pace) ask(now int64) *list.Element {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting.PushBack(now)
}

// gone notes that a stream will not begin, or is none.
func (p *pace) gone(e *list.Element) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting.Remove(e)
}

// begun notes a stream's first event. What those wait for that were asked for earlier is
// not the endpoint then, but something of their own.
func (p *pace) begun(e *list.Element) {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked, _ := e.Value.(int64)
	for first := p.waiting.Front(); first != nil; first = p.waiting.Front() {
		if before, _ := first.Value.(int64); before >= asked {
			break
		}
		p.waiting.Remove(first)
	}
	p.waiting.Remove(e)
}

// block and unblock stand around the time in which a stream that has begun is read.
func (p *pace) block(now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked++
	p.since += now
}

// unblock adds the seconds since the read before, if they say something about the endpoint.
func (p *pace) unblock(begin, now int64, seconds float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked--
	p.since -= begin
	p.fade(now)
	p.seconds += seconds
}

// add adds events, which came in those seconds.
func (p *pace) add(events, now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fade(now)
	p.events += float64(events)
}

// fade forgets. The caller holds p.mu.
func (p *pace) fade(now int64) {
	keep := math.Exp(-float64(max(now-p.faded, 0)) / float64(paceMemory))
	p.events *= keep
	p.seconds *= keep
	p.faded = now
}

// seen is what was seen of an endpoint's streams.
type seen struct {
	events, seconds float64
	eldest          time.Duration // how long it has waited for its first event
}

// look returns what was seen until now, with the waiting of those that are blocked.
func (p *pace) look(now int64) (s seen) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fade(now)
	if first := p.waiting.Front(); first != nil {
		asked, _ := first.Value.(int64)
		s.eldest = time.Duration(now - asked)
	}
	// Both products are too large for an int64 and wrap; their difference does not.
	pending := time.Duration(p.blocked*now - p.since)
	s.events, s.seconds = p.events, p.seconds+min(max(pending, 0), time.Duration(p.blocked)*patience).Seconds()
	return s
}

// factor is how many times slower than the mean an endpoint is.
func (s seen) factor(mean float64) float64 {
	factor := max(1, float64(min(s.eldest, longest))/float64(patience))
	if mean < faintest {
		return factor
	}
	return factor * max(mean*(s.seconds+pacePrior)/(s.events+mean*pacePrior), 1/float64(fastest))
}

// slowness is the factor for picks.
func (p *pace) slowness() float64 {
	if bits := p.factor.Load(); bits != 0 {
		return math.Float64frombits(bits)
	}
	return 1
}

// paces is when the endpoints of a set were compared.
type paces struct{ last atomic.Int64 }

// compare makes the factors anew, when the last time is some time ago.
func (s *set) compare(now int64) {
	last := s.paces.last.Load()
	if since := now - last; since >= 0 && since < int64(paceEvery) || !s.paces.last.CompareAndSwap(last, now) {
		return
	}
	list := make([]seen, len(s.nodes))
	events, seconds := 0.0, 0.0
	for i, n := range s.nodes {
		list[i] = n.pace.look(now)
		events += list[i].events
		seconds += list[i].seconds
	}
	mean := events / max(seconds, 1e-9)
	for i, n := range s.nodes {
		n.pace.factor.Store(math.Float64bits(list[i].factor(mean)))
	}
}

// asksStream reports whether a request asks for a stream, as far as that can be known
// before the answer.
func asksStream(req *http.Request) bool {
	if strings.Contains(req.Header.Get("Accept"), "text/event-stream") {
		return true
	}
	asks := bodies.Request(req)
	return asks != nil && asks.Stream
}

// beat follows the events of one stream. Its methods are called by whoever reads the
// stream, one after the other.
type beat struct {
	pace   *pace
	first  bool  // it had an event
	begin  int64 // when the read under way began; 0: there is none
	last   int64 // when the read before ended
	behind bool  // the reader was busy, and what comes is from a buffer
	events int64 // so far
	tells  bool  // the latest read says something about the endpoint
}

// reads notes that a read begins.
func (b *beat) reads(at time.Time) {
	if b.first {
		b.begin = at.UnixNano()
		b.pace.block(b.begin)
	}
}

// read notes that it ended.
func (b *beat) read(at time.Time) {
	if b.begin == 0 {
		return
	}
	now, seconds := at.UnixNano(), 0.0
	if b.tells = b.says(b.begin, now); b.tells {
		seconds = min(time.Duration(now-b.last), longest).Seconds()
	}
	b.pace.unblock(b.begin, now, seconds)
	b.begin, b.last = 0, now
}

// event notes that there were n events so far.
func (b *beat) event(n int64, at time.Time) {
	if !b.first {
		b.first, b.last = true, at.UnixNano()
	} else if b.tells {
		b.pace.add(n-b.events, at.UnixNano())
	}
	b.events = n
}

// says reports whether what was read says something about the endpoint: not when most of
// the time was the reader's own, or nobody knows, nor then until it has to wait again.
func (b *beat) says(begin, now int64) bool {
	waited := now - begin
	switch {
	case now < b.last || 2*waited < now-b.last: // the clock may have been set
		b.behind = true
	case waited >= int64(atOnce):
		b.behind = false
	}
	return !b.behind
}

// follow follows the pace of a stream. One that is compressed can't be followed.
func (u *use) follow(a *exchange.Attempt) {
	if !u.pool.paced {
		return
	}
	if !a.IsStream() {
		u.unlisted()
		return
	}
	b := &beat{pace: &u.node.pace}
	a.OnRead(b.reads, b.read)
	a.OnContent(func(time.Time) { u.begun() })
	a.OnEvent(b.event)
}
