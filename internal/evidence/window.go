package evidence

import "time"

// seconds is the length of a window.
const seconds = 10

// Window counts exchanges and failures, second by second. The zero value is ready to use. It
// is not safe for concurrent use.
type Window struct {
	all, bad [seconds]uint32
	second   int64 // the latest
	sum      Tally
}

// Tally is a count of exchanges and of those that failed.
type Tally struct{ All, Bad uint32 }

// Good returns the number of exchanges that did not fail.
func (t Tally) Good() uint32 { return t.All - t.Bad }

// Reaches reports whether at least the given percentage failed.
func (t Tally) Reaches(percent int) bool {
	return uint64(t.Bad)*100 >= uint64(t.All)*uint64(max(percent, 0))
}

// Add counts an exchange.
func (w *Window) Add(now time.Time, bad bool) {
	w.advance(now)
	i := w.second % seconds
	w.all[i]++
	w.sum.All++
	if bad {
		w.bad[i]++
		w.sum.Bad++
	}
}

// Correct turns the latest failure into a success.
func (w *Window) Correct(now time.Time) {
	w.advance(now)
	for back := range int64(seconds) {
		if i := (w.second - back + seconds) % seconds; w.bad[i] > 0 {
			w.bad[i]--
			w.sum.Bad--
			return
		}
	}
}

// Tally returns the counts of the last ten seconds.
func (w *Window) Tally(now time.Time) Tally {
	w.advance(now)
	return w.sum
}

func (w *Window) advance(now time.Time) {
	second := now.Unix()
	if w.second >= second {
		return
	}
	if second-w.second >= seconds || w.sum.All == 0 {
		*w = Window{second: second}
		return
	}
	for w.second < second {
		w.second++
		i := w.second % seconds
		w.sum.All -= w.all[i]
		w.sum.Bad -= w.bad[i]
		w.all[i], w.bad[i] = 0, 0
	}
}
