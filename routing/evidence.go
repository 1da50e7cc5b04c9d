package routing

import (
	"fmt"
	"math"
	"time"
)

// maxSteps bounds the steps of a rollout; users remember theirs in a byte.
const maxSteps = 100

// What a rollout compares, and how its risk is divided.
const (
	failures = iota // some answer of a user failed
	latency         // a user's first answer of a window was slow
	quality         // somebody judged a user's answer badly
	checks
)

//nolint:gochecknoglobals // constants
var (
	checkNames = [checks]string{"failures", "latency", "quality"}
	riskShares = [checks]float64{0.5, 0.3, 0.2}
	// ratios are how much worse the canary may be, to be found out.
	ratios = [...]float64{1.25, 1.5, 2, 3, 5, 10, 20}
	// parts are how far below a bound the truth may be, to be found out.
	parts = [...]float64{0, 0.25, 0.5, 0.75}
)

// confidence is the probability with which a check that lets a rollout go on is right.
const confidence = 0.95

// leastWindow is the length of a window when Dwell is shorter.
const leastWindow = time.Minute

// finding is what was found out about a request.
type finding struct {
	check int
	bad   bool
	own   bool // it may be the request's own fault
}

func armOf(canary bool) int {
	if canary {
		return 1
	}
	return 0
}

// evidence is what is known of two versions between which users were divided at random.
//
// If the canary is no worse, then of the users to whom something bad happens a share θ
// is the canary's which is just its share of the users: they were assigned by a hash
// that knows nothing of them. Against that stand alternatives in which it is r times as
// likely there. The mean of their likelihood ratios stays below 1/α for ever with
// probability 1-α (Ville's inequality), so that it may be looked at after every request:
// a conditional mixture sequential probability ratio test, as in Lindon et al., "Rapid
// Regression Detection in Software Deployments through Sequential Testing" (KDD 2022).
//
// A user counts once in a window: one who fails again and again, or always, is no more
// evidence than one who failed once. Each step begins with a window, and after Dwell, or a
// minute, there is another one, so that a canary that turns bad is found out although all
// users have failed once by then. Window k is a test of its own with the part 1/(k(k+1))
// of α; the parts add up to 1.
type evidence struct {
	cfg    *RolloutConfig
	step   int
	window int // from 1, over all steps
	opened time.Time
	keys   keySet

	worse   [checks][len(ratios)]float64 // in this window, logarithms of likelihood ratios
	fit     [checks][len(parts)]float64  // at this step, the same for: less than Margin times as likely
	tried   [checks][2]int               // users at this step: stable, canary
	bad     [checks][2]int
	pace    pace
	streaks streaks
}

func newEvidence(cfg *RolloutConfig) *evidence {
	e := &evidence{cfg: cfg}
	e.begin(0, true)
	return e
}

// begin begins a step. That the canary is well is to be seen at every step: more users
// may be more than it can take.
func (e *evidence) begin(step int, anew bool) {
	if anew {
		*e = evidence{cfg: e.cfg, keys: keySet{users: make(map[uint64]user)}}
	}
	e.step = step
	e.tried, e.bad = [checks][2]int{}, [checks][2]int{}
	e.fit = [checks][len(parts)]float64{}
	e.streaks = streaks{}
	e.open()
}

// open begins a window.
func (e *evidence) open() {
	e.window++
	e.opened = time.Now()
	e.worse = [checks][len(ratios)]float64{}
}

// share is the canary's.
func (e *evidence) share() float64 { return e.cfg.Steps[e.step] }

// add takes a finding about a user, and returns why the canary must be rolled back, or "".
func (e *evidence) add(key uint64, canary bool, f finding) string {
	if f.check == failures && e.streaks.dead(key, canary, f, e.tried[failures][1], e.share()) {
		return fmt.Sprintf("failures: the last %d answers of the canary failed", e.streaks.failed[1])
	}
	return e.count(key, canary, f)
}

// began takes the time to a first byte, of which a user's first in a window counts.
func (e *evidence) began(key uint64, canary bool, after time.Duration) string {
	limit, known := e.pace.limit(e.cfg.Slow)
	if !canary {
		e.pace.add(after)
	}
	if !known {
		return ""
	}
	return e.count(key, canary, finding{check: latency, bad: float64(after) > limit})
}

// waited takes how long a client had waited that left before the first byte: that may be
// enough to know that this one was slow. Else nobody would stay to see that a canary is.
func (e *evidence) waited(key uint64, canary bool, after time.Duration) string {
	limit, known := e.pace.limit(e.cfg.Slow)
	if !known || float64(after) <= limit {
		return ""
	}
	return e.count(key, canary, finding{check: latency, bad: true})
}

// mark is how a user remembers this step.
func (e *evidence) mark() uint8 { return uint8(e.step + 1) } //nolint:gosec // steps are at most maxSteps

// count takes a finding, once for each user and window, and for each user and step.
func (e *evidence) count(key uint64, canary bool, f finding) string {
	if !e.keys.takes(key) {
		return ""
	}
	if time.Since(e.opened) >= max(e.cfg.Dwell, leastWindow) {
		e.open()
	}
	u := e.keys.of(key)
	u.canary = canary
	if f.bad && u.window[f.check] != e.window {
		e.weigh(e.worse[f.check][:], ratios[:], 1, canary)
	}
	if f.bad || f.check == latency { // of which the first counts, be it bad or not
		u.window[f.check] = e.window
	}
	e.note(&u, f)
	if e.keys.put(key, u) {
		e.recount()
	}
	if f.bad && e.strength(f.check) >= e.limit(f.check) {
		return fmt.Sprintf("%s: %d of %d users of the canary, %d of %d of the stable version",
			checkNames[f.check], e.bad[f.check][1], e.tried[f.check][1], e.bad[f.check][0], e.tried[f.check][0])
	}
	return ""
}

// note counts a user once at this step.
func (e *evidence) note(u *user, f finding) {
	arm, first := armOf(u.canary), u.tried[f.check] != e.mark()
	if first {
		u.tried[f.check] = e.mark()
		e.tried[f.check][arm]++
	}
	if !f.bad || u.bad[f.check] == e.mark() || f.check == latency && !first {
		return
	}
	u.bad[f.check] = e.mark()
	e.bad[f.check][arm]++
	e.weigh(e.fit[f.check][:], parts[:], e.cfg.Margin, u.canary)
}

// weigh counts a user to whom something bad happened: how much likelier that is when the
// canary is ratio times unit as bad, than when it is unit times as bad.
func (e *evidence) weigh(logs, ratios []float64, unit float64, canary bool) {
	theta := e.share()
	if theta >= 1 {
		return
	}
	likely := func(ratio float64) float64 { // of what happened, at that ratio
		p := ratio * theta / (ratio*theta + 1 - theta)
		if canary {
			return p
		}
		return 1 - p
	}
	for i, r := range ratios {
		logs[i] += math.Log(likely(r*unit) / likely(unit))
	}
}

// strength is the evidence that the canary is worse.
func (e *evidence) strength(check int) float64 { return meanExp(e.worse[check][:]) }

// limit is the strength that rolls back, in this window.
func (e *evidence) limit(check int) float64 {
	k := float64(e.window)
	return k * (k + 1) * float64(e.cfg.Replicas) / (e.cfg.Risk * riskShares[check])
}

// meanExp is the mean of the exponentials.
func meanExp(logs []float64) float64 {
	sum := 0.0
	for _, l := range logs {
		sum += math.Exp(min(l, 700)) // about the largest number
	}
	return sum / float64(len(logs))
}

// enough reports whether the canary may go on: enough of its users were seen, and in
// every respect it is surely not much worse.
func (e *evidence) enough() bool {
	for check := range checks {
		if check == quality && !e.cfg.AwaitQuality {
			continue
		}
		if e.tried[check][1] < e.cfg.MinKeys || !e.ready(check) {
			return false
		}
	}
	return true
}

// ready reports that the canary is surely less than Margin times as bad, or less than
// Tolerance worse. The second holds its users against the stable version's rate as it was
// seen, of which much more is known.
func (e *evidence) ready(check int) bool {
	sure := float64(e.cfg.Replicas) / (1 - confidence) // any of them may go on
	if meanExp(e.fit[check][:]) >= sure {
		return true
	}
	stable, n, bad := 0.0, float64(e.tried[check][1]), float64(e.bad[check][1])
	if e.tried[check][0] > 0 {
		stable = float64(e.bad[check][0]) / float64(e.tried[check][0])
	}
	bound := stable + e.cfg.Tolerance
	if bound >= 1 {
		return true
	}
	var logs [len(parts)]float64
	for i, part := range parts {
		logs[i] = (n - bad) * math.Log((1-part*bound)/(1-bound))
		if bad > 0 {
			logs[i] += bad * math.Log(part)
		}
	}
	return meanExp(logs[:]) >= sure
}

// recount counts this step's users again, after some were forgotten.
func (e *evidence) recount() {
	e.tried, e.bad = [checks][2]int{}, [checks][2]int{}
	for _, u := range e.keys.users {
		arm := armOf(u.canary)
		for check := range checks {
			if u.tried[check] == e.mark() {
				e.tried[check][arm]++
			}
			if u.bad[check] == e.mark() {
				e.bad[check][arm]++
			}
		}
	}
}

func (e *evidence) checks() []RolloutCheck {
	out := make([]RolloutCheck, checks)
	for check := range checks {
		out[check] = RolloutCheck{
			Name:       checkNames[check],
			StableKeys: e.tried[check][0], StableBad: e.bad[check][0],
			CanaryKeys: e.tried[check][1], CanaryBad: e.bad[check][1],
			Evidence: min(e.strength(check), math.MaxFloat64), Limit: e.limit(check), Ready: e.ready(check),
		}
	}
	return out
}
