package proxy

import (
	"math"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	maxClasses = 1000
	// maxClass bounds the name of a class, in bytes, since clients may choose it. All longer
	// names are one class.
	maxClass   = 200
	paceWindow = time.Minute
	// paceLeast is the number of responses from which a pace is known.
	paceLeast = 20
	// Times are kept to a twentieth, from a millisecond to a quarter of an hour.
	paceStep    = 1.05
	paceBuckets = 282
)

// tooLong is the class of all names beyond maxClass.
const tooLong = "*"

// paces are the times until responses begin, by latency class and for streams apart. The least
// recently used class is dropped.
type paces struct{ classes *lru.Cache[paceKey, *pace] }

type paceKey struct {
	class  string
	stream bool
}

func newPaces() paces {
	c, err := lru.New[paceKey, *pace](maxClasses)
	if err != nil { // only for a size below 1
		panic(err)
	}
	return paces{c}
}

// find returns the pace of a class, or nil. It creates none: otherwise clients could evict the
// others by naming classes that do not exist.
func (p paces) find(k paceKey) *pace {
	found, _ := p.classes.Get(k)
	return found
}

// of returns the pace of a class, and creates it if needed.
func (p paces) of(k paceKey) *pace {
	if found := p.find(k); found != nil {
		return found
	}
	made := new(pace)
	if before, found, _ := p.classes.PeekOrAdd(k, made); found {
		return before
	}
	return made
}

// pace counts times in the current minute and the one before.
type pace struct {
	mu       sync.Mutex
	now, old [paceBuckets]uint32
	sum      [2]uint32
	began    time.Time // of the current minute
}

func (p *pace) add(now time.Time, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn(now)
	p.now[bucket(d)]++
	p.sum[0]++
}

// quantile returns the time within which this part of the responses began; false: too few are
// known.
func (p *pace) quantile(now time.Time, q float64) (time.Duration, bool) {
	if p == nil {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn(now)
	all := p.sum[0] + p.sum[1]
	if all < paceLeast {
		return 0, false
	}
	want := uint32(math.Ceil(q * float64(all)))
	var seen uint32
	for i := range p.now {
		if seen += p.now[i] + p.old[i]; seen >= want {
			return time.Duration(math.Pow(paceStep, float64(i+1)) * float64(time.Millisecond)), true
		}
	}
	return 0, false
}

// turn drops times that are too old.
func (p *pace) turn(now time.Time) {
	age := now.Sub(p.began)
	if age < paceWindow {
		return
	}
	p.old, p.sum[1] = p.now, p.sum[0]
	if age >= 2*paceWindow {
		p.old, p.sum[1] = [paceBuckets]uint32{}, 0
	}
	p.now, p.sum[0] = [paceBuckets]uint32{}, 0
	p.began = now
}

func bucket(d time.Duration) int {
	i := math.Log(float64(d)/float64(time.Millisecond)) / math.Log(paceStep)
	return int(min(max(i, 0), paceBuckets-1))
}
