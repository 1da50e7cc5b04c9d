package proxy

import (
	"math"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	maxClasses = 1000
	// maxClass bounds, in bytes, the name of one: clients may choose it. All longer
	// ones are one class.
	maxClass   = 200
	paceWindow = time.Minute
	// paceLeast is how many answers must be known before anything is said of the next.
	paceLeast = 20
	// Times are kept to a twentieth, from a millisecond to a quarter of an hour.
	paceStep    = 1.05
	paceBuckets = 282
)

// tooLong is the class of all names beyond maxClass.
const tooLong = "*"

// paces is how long answers take to begin, by the class of their requests and by
// whether they are streams. Those that were asked for least recently are forgotten.
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

// find returns the pace of a class, or nil. Asking makes none: clients could ask for
// any number of classes that do not exist, and have the others forgotten.
func (p paces) find(k paceKey) *pace {
	found, _ := p.classes.Get(k)
	return found
}

// of finds or makes the pace of a class.
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

// pace counts times, in this minute and the one before.
type pace struct {
	mu       sync.Mutex
	now, old [paceBuckets]uint32
	sum      [2]uint32
	began    time.Time // this minute
}

func (p *pace) add(now time.Time, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn(now)
	p.now[bucket(d)]++
	p.sum[0]++
}

// quantile is the time within which so large a part began; false if too little is
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

// turn forgets what is too old.
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
