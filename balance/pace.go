package balance

import (
	"bytes"
	"container/list"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/internal/peek"
	"github.com/ginfer/ginfer/internal/sse"
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
	// patience is how long anybody may wait for a first event.
	patience = time.Second
)

// pace is how fast the streams of an endpoint are, as seen from here: events for each
// second that a stream waited for one, and how long the eldest waits for its first.
type pace struct {
	mu      sync.Mutex
	waiting list.List // of int64: when streams were asked for that have no event yet
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

// answered notes that a stream has begun, or will not.
func (p *pace) answered(e *list.Element) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting.Remove(e)
}

// block and unblock stand around the time in which a stream that has begun is read.
func (p *pace) block(now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked++
	p.since += now
}

// unblock adds events that came in the time from last to now. When most of it was the
// reader's own, the events say nothing about the endpoint.
func (p *pace) unblock(events int, last, begin, now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked--
	p.since -= begin
	if 2*(now-begin) < now-last {
		return
	}
	p.fade(now)
	p.events += float64(events)
	p.seconds += time.Duration(now - last).Seconds()
}

// fade forgets. The caller holds p.mu.
func (p *pace) fade(now int64) {
	keep := math.Exp(-float64(max(now-p.faded, 0)) / float64(paceMemory))
	p.events *= keep
	p.seconds *= keep
	p.faded = now
}

// look returns what was seen until now, with the waiting of those that are blocked, and
// how long the eldest has waited for its first event.
func (p *pace) look(now int64) (events, seconds float64, eldest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fade(now)
	if first := p.waiting.Front(); first != nil {
		asked, _ := first.Value.(int64)
		eldest = time.Duration(now - asked)
	}
	// Both products are too large for an int64 and wrap; their difference does not.
	pending := time.Duration(p.blocked*now - p.since)
	return p.events, p.seconds + max(pending.Seconds(), 0), eldest
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
	type seen struct {
		events, seconds float64
		eldest          time.Duration
	}
	list := make([]seen, len(s.nodes))
	events, seconds := 0.0, 0.0
	for i, n := range s.nodes {
		e := &list[i]
		e.events, e.seconds, e.eldest = n.pace.look(now)
		events += e.events
		seconds += e.seconds
	}
	mean := events / max(seconds, 1e-9)
	for i, n := range s.nodes {
		e := &list[i]
		factor := max(1, float64(e.eldest)/float64(patience))
		if mean > 0 {
			factor *= max(mean*(e.seconds+pacePrior)/(e.events+mean*pacePrior), 1/float64(fastest))
		}
		n.pace.factor.Store(math.Float64bits(factor))
	}
}

// asksStream reports whether a request asks for a stream, as far as that can be known
// before the answer.
func asksStream(req *http.Request) bool {
	if strings.Contains(req.Header.Get("Accept"), "text/event-stream") {
		return true
	}
	body, ok := peek.Whole(req)
	if !ok {
		return false
	}
	start, end, err := peek.Member(body, "stream")
	return err == nil && string(body[start:end]) == "true"
}

// pacedBody is the body of a stream whose endpoint's pace is watched.
type pacedBody struct {
	io.ReadCloser
	x    *exchange
	last int64 // when the event before came; 0: there was none
}

func (b *pacedBody) Read(p []byte) (int, error) {
	if b.last == 0 {
		n, err := b.ReadCloser.Read(p)
		if bytes.Contains(p[:n], []byte(dataField)) {
			b.last = time.Now().UnixNano()
			b.x.begun()
		}
		return n, err
	}
	begin := time.Now().UnixNano()
	b.x.node.pace.block(begin)
	n, err := b.ReadCloser.Read(p)
	now := time.Now().UnixNano()
	b.x.node.pace.unblock(bytes.Count(p[:n], []byte(dataField)), b.last, begin, now)
	b.last = now
	return n, err
}

// dataField is what an event that says something has; a comment has none.
const dataField = "data:"

// paced wraps the body of a stream.
func (x *exchange) paced(res *http.Response) {
	if !x.pool.paced {
		return
	}
	if _, duplex := res.Body.(io.Writer); !duplex && sse.Is(res.Header.Get("Content-Type")) {
		res.Body = &pacedBody{ReadCloser: res.Body, x: x}
	} else {
		x.begun()
	}
}
