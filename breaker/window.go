package breaker

import "time"

// windowSeconds is how far back is counted.
const windowSeconds = 10

// window counts, second by second, how many there were and how many of them were bad.
type window struct {
	all, bad [windowSeconds]int
	second   int64 // the latest
}

// add counts one.
func (w *window) add(now time.Time, bad bool) {
	w.advance(now)
	i := w.second % windowSeconds
	w.all[i]++
	if bad {
		w.bad[i]++
	}
}

// counts are those of the last ten seconds.
func (w *window) counts(now time.Time) (all, bad int) {
	w.advance(now)
	for i := range w.all {
		all += w.all[i]
		bad += w.bad[i]
	}
	return all, bad
}

func (w *window) advance(now time.Time) {
	second := now.Unix()
	for n := 0; w.second < second && n < windowSeconds; n++ {
		w.second++
		w.all[w.second%windowSeconds], w.bad[w.second%windowSeconds] = 0, 0
	}
	w.second = max(w.second, second)
}
