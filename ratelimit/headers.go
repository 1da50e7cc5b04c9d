package ratelimit

import (
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// cachedStates is the number of remaining counts with cached headers.
const cachedStates = 1024

// headers are the response headers of a limit: RateLimit-Policy and RateLimit as in
// draft-ietf-httpapi-ratelimit-headers-10, and x-ratelimit-* as in the OpenAI API.
type headers struct {
	policy, quota []string
	ready         *[cachedStates]atomic.Pointer[state]
}

// state is the header values for a remaining count.
type state struct {
	limit            []string // for RateLimit
	remaining, reset []string // for x-ratelimit-*

	values [3]string // in the slices
}

// newHeaders renders the constant values. The quota is the size of the bucket, and the window
// the time in which it fills.
func newHeaders(l *Limit) headers {
	quota := strconv.FormatInt(max(l.Burst, l.Budget), 10)
	policy := `"` + l.Name + `";q=` + quota
	switch {
	case l.Rate > 0:
		policy += ";w=" + strconv.FormatInt(max(int64(math.Round(float64(l.Burst)/float64(l.Rate))), 1), 10)
	case l.Period == Day:
		policy += ";w=86400"
	}
	return headers{policy: []string{policy}, quota: []string{quota}, ready: new([cachedStates]atomic.Pointer[state])}
}

// setHeaders sets RateLimit for every limit that was checked, and x-ratelimit-* for the one
// that refused, or has the least left.
func setHeaders(h http.Header, unit string, one *call) {
	refused, least := refusal(one.charges), math.Inf(1)
	var tightest *limit
	var state *state
	for i := range one.charges {
		c, l := &one.charges[i], one.limits[i]
		if math.IsNaN(c.Left) {
			continue
		}
		s := l.state(c)
		add(h, "Ratelimit-Policy", l.policy)
		add(h, "Ratelimit", s.limit)
		share := c.Left / float64(c.Burst)
		if i == refused {
			share = math.Inf(-1)
		}
		if share < least {
			tightest, least, state = l, share, s
		}
	}
	if tightest == nil {
		return
	}
	names := headerNames(unit)
	h[names[0]], h[names[1]], h[names[2]] = tightest.quota, state.remaining, state.reset
}

// add adds values that many requests share. Their slices are full, so that append copies
// them.
func add(h http.Header, name string, values []string) {
	if old, ok := h[name]; ok {
		values = append(old, values...)
	}
	h[name] = values
}

// state returns the header values of a charge. For a rate that has not refused they depend
// only on the remaining count, and are cached.
func (l *limit) state(c *Charge) *state {
	left := max(int64(c.Left), 0)
	wait := c.Wait
	if wait == 0 {
		wait = c.full(left)
	}
	if c.Wait > 0 || !c.Ends.IsZero() || left >= cachedStates {
		return l.render(left, wait)
	}
	s := l.ready[left].Load()
	if s == nil {
		s = l.render(left, wait)
		l.ready[left].Store(s)
	}
	return s
}

// full returns the time until the bucket is full again.
func (c *Charge) full(left int64) time.Duration {
	if !c.Ends.IsZero() {
		return max(time.Until(c.Ends), 0)
	}
	if left >= c.Burst {
		return 0
	}
	return seconds(float64(c.Burst-left) / c.Rate)
}

func (l *limit) render(left int64, wait time.Duration) *state {
	// All values are parts of one string, and all slices of one array: most requests render them.
	text := append(append(make([]byte, 0, 96), '"'), l.Name...)
	text = append(text, `";r=`...)
	number := len(text)
	text = strconv.AppendInt(text, left, 10)
	end := len(text)
	item := end
	if wait != Never {
		text = strconv.AppendInt(append(text, ";t="...), roundUp(wait), 10)
		item = len(text)
		text = append(text, wait.Round(time.Millisecond).String()...)
	}
	all := string(text)
	s := &state{values: [3]string{all[:item], all[number:end], all[item:]}}
	s.limit, s.remaining = s.values[0:1:1], s.values[1:2:2]
	if wait != Never {
		s.reset = s.values[2:3:3]
	}
	return s
}

// roundUp returns d in whole seconds, rounded up so that clients do not retry early.
func roundUp(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d-1)/time.Second) + 1
}

func headerNames(unit string) [3]string {
	if unit == "tokens" {
		return [3]string{"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"}
	}
	return [3]string{"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"}
}
