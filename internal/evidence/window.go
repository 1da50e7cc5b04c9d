package evidence

import "time"

// Seconds is how far back is counted.
const Seconds = 10

// Window counts, second by second, how many exchanges there were and how many of them
// failed. The zero value is ready. It is not safe for concurrent use.
type Window struct {
	all, bad [Seconds]uint32
	second   int64 // the latest
	sum      Tally
}

// Tally is how many exchanges there were, and how many of them failed.
type Tally struct{ All, Bad uint32 }

// Good is how many did not fail.
func (t Tally) Good() uint32 { return t.All - t.Bad }

// Reaches reports whether at least so many percent failed.
func (t Tally) Reaches(percent int) bool {
	return uint64(t.Bad)*100 >= uint64(t.All)*uint64(max(percent, 0))
}

// Add counts one.
func (w *Window) Add(now time.Time, bad bool) {
	w.advance(now)
	i := w.second % Seconds
	w.all[i]++
	w.sum.All++
	if bad {
		w.bad[i]++
		w.sum.Bad++
	}
}

// Correct makes a success of the latest failure.
func (w *Window) Correct(now time.Time) {
	w.advance(now)
	for back := range int64(Seconds) {
		if i := (w.second - back + Seconds) % Seconds; w.bad[i] > 0 {
			w.bad[i]--
			w.sum.Bad--
			return
		}
	}
}

// Tally is that of the last ten seconds.
func (w *Window) Tally(now time.Time) Tally {
	w.advance(now)
	return w.sum
}

func (w *Window) advance(now time.Time) {
	second := now.Unix()
	if w.second >= second {
		return
	}
	if second-w.second >= Seconds || w.sum.All == 0 {
		*w = Window{second: second}
		return
	}
	for w.second < second {
		w.second++
		i := w.second % Seconds
		w.sum.All -= w.all[i]
		w.sum.Bad -= w.bad[i]
		w.all[i], w.bad[i] = 0, 0
	}
}
