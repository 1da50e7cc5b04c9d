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
	// paceMemory is the time in which observations of an endpoint's streams decay to 1/e.
	paceMemory = 500 * time.Millisecond
	// paceEvery is the maximum age of the factors that picks compare.
	paceEvery = 50 * time.Millisecond
	// pacePrior and eventPrior are the seconds of a stream at the mean rate that every endpoint
	// is credited with, and the most events in these: an endpoint without streams has only that,
	// and a single gap says little.
	pacePrior, eventPrior = 0.25, 3
	// fastest bounds how much faster than the mean an endpoint may look: what a slow client
	// left in a connection's buffer is read at any speed.
	fastest = 4
	// patience is the wait for a first event that counts as normal, and the longest silence per
	// stream that counts against the endpoint: a longer one may be the stream's own.
	patience = time.Second
	// longest bounds the age in the queue for a first event, and the wait for a later one: the
	// endpoint must be used again at some time, in case only one stream was stuck.
	longest = 10 * patience
	// faintest is the mean, in events per second, below which nothing is known of streams.
	faintest = 1e-3
	// atOnce is the time within which buffered data arrives.
	atOnce = 100 * time.Microsecond
)

// pace is the observed speed of an endpoint's streams: events per second that a stream waited
// for one, and how long the oldest stream has waited for its first.
type pace struct {
	mu      sync.Mutex
	waiting list.List // of int64: the start of streams without an event, and without a later one that overtook them
	events  float64
	seconds float64
	faded   int64 // when both were last reduced
	blocked int64 // streams that are being read now
	since   int64 // the sum of the times at which these reads began
	slow    slow

	factor atomic.Uint64 // float64: how many times slower than the mean; for picks
}

// requested records the request of a stream.
func (p *pace) requested(now int64) *list.Element {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting.PushBack(now)
}

// gone records that a stream will not begin, or is none.
func (p *pace) gone(e *list.Element) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting.Remove(e)
}

// begun records a stream's first event. Streams that were requested earlier are then delayed by
// something other than the endpoint.
func (p *pace) begun(e *list.Element) {
	p.mu.Lock()
	defer p.mu.Unlock()
	requested, _ := e.Value.(int64)
	for first := p.waiting.Front(); first != nil; first = p.waiting.Front() {
		if before, _ := first.Value.(int64); before >= requested {
			break
		}
		p.waiting.Remove(first)
	}
	p.waiting.Remove(e)
}

// block and unblock enclose a read of a stream that has begun.
func (p *pace) block(now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked++
	p.since += now
}

// unblock adds the seconds since the previous read, if they are evidence about the endpoint.
func (p *pace) unblock(begin, now int64, seconds float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked--
	p.since -= begin
	p.fade(now)
	p.seconds += seconds
}

// add adds events that arrived in those seconds.
func (p *pace) add(events, now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fade(now)
	p.events += float64(events)
}

// fade reduces old observations. The caller holds p.mu.
func (p *pace) fade(now int64) {
	keep := math.Exp(-float64(max(now-p.faded, 0)) / float64(paceMemory))
	p.events *= keep
	p.seconds *= keep
	p.faded = now
}

// seen is what was observed of an endpoint's streams.
type seen struct {
	events, seconds float64
	eldest          time.Duration // how long the oldest stream has waited for its first event
}

// look returns the observations until now, including reads in progress.
func (p *pace) look(now int64) (s seen) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fade(now)
	if first := p.waiting.Front(); first != nil {
		requested, _ := first.Value.(int64)
		s.eldest = time.Duration(now - requested)
	}
	// Both products are too large for an int64 and wrap; their difference does not.
	pending := time.Duration(p.blocked*now - p.since)
	s.events, s.seconds = p.events, p.seconds+min(max(pending, 0), time.Duration(p.blocked)*patience).Seconds()
	return s
}

// factor returns how many times slower than the mean an endpoint is.
func (s seen) factor(mean float64) float64 {
	factor := max(1, float64(min(s.eldest, longest))/float64(patience))
	if mean < faintest {
		return factor
	}
	prior := min(pacePrior, eventPrior/mean)
	return factor * max(mean*(s.seconds+prior)/(s.events+mean*prior), 1/float64(fastest))
}

// slowness returns the factor for picks.
func (p *pace) slowness() float64 {
	if bits := p.factor.Load(); bits != 0 {
		return math.Float64frombits(bits)
	}
	return 1
}

// compare updates the factors if they are older than paceEvery.
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
	mean, requests := events/max(seconds, 1e-9), s.requests()
	for i, n := range s.nodes {
		factor, isDue := n.pace.remember(list[i], mean, requests)
		n.pace.factor.Store(math.Float64bits(factor))
		if isDue {
			s.paces.due.Store(int64(i) + 1)
		}
	}
}

// wantsStream reports whether a request asks for a stream, as far as the request shows that.
func wantsStream(req *http.Request) bool {
	if strings.Contains(req.Header.Get("Accept"), "text/event-stream") {
		return true
	}
	parsed := bodies.Request(req)
	return parsed != nil && parsed.Stream
}

// beat tracks the events of one stream. Its methods are called by the stream's reader, one
// after the other.
type beat struct {
	pace     *pace
	first    bool  // there was an event
	begin    int64 // when the current read began; 0: there is none
	last     int64 // when the previous read ended
	behind   bool  // the reader was busy, and data comes from a buffer
	events   int64 // so far
	evidence bool  // the latest read is evidence about the endpoint
}

// reads records the begin of a read.
func (b *beat) reads(at time.Time) {
	if b.first {
		b.begin = at.UnixNano()
		b.pace.block(b.begin)
	}
}

// read records the end of a read.
func (b *beat) read(at time.Time) {
	if b.begin == 0 {
		return
	}
	now, seconds := at.UnixNano(), 0.0
	if b.evidence = b.isEvidence(b.begin, now); b.evidence {
		seconds = min(time.Duration(now-b.last), longest).Seconds()
	}
	b.pace.unblock(b.begin, now, seconds)
	b.begin, b.last = 0, now
}

// event records the number of events so far.
func (b *beat) event(n int64, at time.Time) {
	if !b.first {
		b.first, b.last = true, at.UnixNano()
	} else if b.evidence {
		b.pace.add(n-b.events, at.UnixNano())
	}
	b.events = n
}

// isEvidence reports whether a read is evidence about the endpoint: not if most of the time was
// the reader's own or is unknown, nor from then on until the reader has to wait again.
func (b *beat) isEvidence(begin, now int64) bool {
	waited := now - begin
	switch {
	case now < b.last || 2*waited < now-b.last: // the clock may have been set
		b.behind = true
	case waited >= int64(atOnce):
		b.behind = false
	}
	return !b.behind
}

// follow tracks the pace of a stream. A compressed one can't be tracked.
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
