package trial

import "time"

// latency compares times to the first byte with those of the stable version. A response on a
// new connection is compared with others on new connections: the few requests of a canary
// find an open connection less often.
type latency struct {
	open, fresh pace      // of responses on connections that were open before, and on new ones
	begun       time.Time // when the canary first responded at this step; zero: it did not
	responses   int       // of the canary, at this step
}

// coldResponses is the least number of the canary's responses that are its warm-up.
const coldResponses = 20

// excused is what a new connection, or a canary that has just begun, may add to the limit: a
// second, or three times the limit if that is more. A canary that hangs is not excused.
const excused = time.Second

// speed is the result of a comparison.
type speed uint8

const (
	unknown speed = iota
	fast
	slow
)

// judge compares the time to a response's first byte, or to a client's disconnect before it.
func (l *latency) judge(cfg *Config, after time.Duration, fresh bool) speed {
	limit, known := l.open.limit(cfg.Slow, cfg.SlowBy)
	excuse := l.isCold(cfg.Warmup)
	if fresh {
		other, enough := l.fresh.limit(cfg.Slow, cfg.SlowBy)
		limit, known, excuse = max(limit, other), known || enough, excuse || !enough
	}
	switch {
	case !known:
		return unknown
	case float64(after) <= limit:
		return fast
	case excuse && float64(after) <= limit+max(float64(excused), 3*limit):
		return unknown
	}
	return slow
}

// isCold reports whether the canary's warm-up lasts.
func (l *latency) isCold(warmup time.Duration) bool {
	return warmup > 0 && (l.responses < coldResponses || time.Since(l.begun) < warmup)
}

// begin begins a step.
func (l *latency) begin() { l.begun, l.responses = time.Time{}, 0 }

// add records the time to a response's first byte.
func (l *latency) add(canary bool, after time.Duration, fresh bool) {
	switch {
	case canary:
		if l.responses++; l.responses == 1 {
			l.begun = time.Now()
		}
	case fresh:
		l.fresh.add(after)
	default:
		l.open.add(after)
	}
}

// FirstByte records the time to the first byte of a response on a connection that was open
// before. Only a user's first response in a window counts.
func (t *Trial) FirstByte(key uint64, canary bool, after time.Duration) string {
	return t.firstByte(key, canary, after, false)
}

// FreshFirstByte is FirstByte for a response on a new connection.
func (t *Trial) FreshFirstByte(key uint64, canary bool, after time.Duration) string {
	return t.firstByte(key, canary, after, true)
}

func (t *Trial) firstByte(key uint64, canary bool, after time.Duration, fresh bool) string {
	result := t.latency.judge(&t.cfg, after, fresh)
	t.latency.add(canary, after, fresh)
	if result == unknown {
		return ""
	}
	return t.count(key, canary, Finding{Check: Latency, Bad: result == slow})
}

// Disconnect records how long a client waited that disconnected before the first byte. If
// that is longer than the limit, the response was slow: a canary that hangs would
// otherwise leave no evidence.
func (t *Trial) Disconnect(key uint64, canary bool, after time.Duration) string {
	return t.disconnect(key, canary, after, false)
}

// FreshDisconnect is Disconnect for a request on a new connection.
func (t *Trial) FreshDisconnect(key uint64, canary bool, after time.Duration) string {
	return t.disconnect(key, canary, after, true)
}

func (t *Trial) disconnect(key uint64, canary bool, after time.Duration, fresh bool) string {
	if t.latency.judge(&t.cfg, after, fresh) != slow {
		return ""
	}
	return t.count(key, canary, Finding{Check: Latency, Bad: true})
}
