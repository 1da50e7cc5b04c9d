package breaker

import "time"

// windowSeconds is how far back slow first bytes are counted.
const windowSeconds = 10

// window counts slow first bytes, second by second.
type window struct {
	all, slow [windowSeconds]int
	second    int64 // the latest
}

// add counts one.
func (w *window) add(now time.Time, slow bool) {
	w.advance(now)
	i := w.second % windowSeconds
	w.all[i]++
	if slow {
		w.slow[i]++
	}
}

// counts are those of the last ten seconds.
func (w *window) counts(now time.Time) (all, slow int) {
	w.advance(now)
	for i := range w.all {
		all += w.all[i]
		slow += w.slow[i]
	}
	return all, slow
}

func (w *window) advance(now time.Time) {
	second := now.Unix()
	for n := 0; w.second < second && n < windowSeconds; n++ {
		w.second++
		w.all[w.second%windowSeconds], w.slow[w.second%windowSeconds] = 0, 0
	}
	w.second = max(w.second, second)
}
