package batch

import (
	"sync"

	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// tally counts the stored results of a batch.
type tally struct {
	news chan struct{}

	mu   sync.Mutex
	done []uint64 // a bit for each line
	ok   int
	bad  int
}

func newTally(lines int) *tally {
	return &tally{news: make(chan struct{}, 1), done: make([]uint64, (lines+63)/64)}
}

func (t *tally) add(r jet.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	word, bit := r.Slot/64, uint64(1)<<(r.Slot%64)
	if r.Slot < 0 || word >= len(t.done) || t.done[word]&bit != 0 {
		return
	}
	t.done[word] |= bit
	if r.Outcome == task.Succeeded {
		t.ok++
	} else {
		t.bad++
	}
	select {
	case t.news <- struct{}{}:
	default:
	}
}

func (t *tally) has(line int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return line/64 < len(t.done) && t.done[line/64]&(1<<(line%64)) != 0
}

func (t *tally) counts() (ok, bad int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ok, t.bad
}
