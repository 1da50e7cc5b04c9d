package routing

import (
	"fmt"
	"math"
	"time"
)

// maxSteps bounds the steps of a rollout; users remember theirs in seven bits.
const maxSteps = 100

// What a rollout compares, and how its risk is divided.
const (
	failures = iota // some answer of a user failed
	latency         // a user's first answer of a step was slow
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

// early is the weight of a canary that is bad from the beginning. The rest is that of one
// that was well until any of the failures: what it was like before says nothing then.
const early = 0.95

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
// A user counts once at a step: one who fails again and again, or always, is no more
// evidence than one who failed once.
type evidence struct {
	cfg  *RolloutConfig
	step int
	keys keySet

	shares  [maxSteps]float64            // of the steps, as they were
	worse   [checks][len(ratios)]float64 // logarithms of likelihood ratios
	weighed [checks]int                  // how many failures they are of
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

// begin begins a step. What was found out against the canary at earlier ones stays, but
// for a rollout that begins again. That it is well is to be seen at every step: more users
// may be more than it can take.
func (e *evidence) begin(step int, anew bool) {
	if anew {
		*e = evidence{cfg: e.cfg, keys: keySet{users: make(map[uint64]user)}}
		for check := range checks {
			for i := range ratios {
				e.worse[check][i] = math.Log(early)
			}
		}
	}
	e.step = step
	e.shares[step] = e.cfg.Steps[step]
	e.tried, e.bad = [checks][2]int{}, [checks][2]int{}
	e.fit = [checks][len(parts)]float64{}
	e.streaks = streaks{}
}

// add takes a finding about a user, and returns why the canary must be rolled back, or "".
func (e *evidence) add(key uint64, canary bool, f finding) string {
	if f.check == failures && e.streaks.dead(key, canary, f, e.tried[failures][1], e.shares[e.step]) {
		return fmt.Sprintf("failures: the last %d answers of the canary failed", e.streaks.failed[1])
	}
	return e.count(key, canary, f)
}

// began takes the time to a first byte, of which the first of a user at a step counts.
func (e *evidence) began(key uint64, canary bool, after time.Duration) string {
	limit, known := e.pace.limit(e.cfg.Slow)
	if !canary {
		e.pace.add(after)
	}
	if !known || e.keys.of(key).tried[latency] == e.mark() {
		return ""
	}
	return e.count(key, canary, finding{check: latency, bad: float64(after) > limit})
}

// waited takes how long a client had waited that left before the first byte: that may be
// enough to know that this one was slow. Else nobody would stay to see that a canary is.
func (e *evidence) waited(key uint64, canary bool, after time.Duration) string {
	limit, known := e.pace.limit(e.cfg.Slow)
	if !known || float64(after) <= limit || e.keys.of(key).tried[latency] == e.mark() {
		return ""
	}
	return e.count(key, canary, finding{check: latency, bad: true})
}

// mark is how a user remembers this step.
func (e *evidence) mark() uint8 { return uint8(e.step + 1) } //nolint:gosec // steps are at most maxSteps

// count takes a finding, once for each user and step.
func (e *evidence) count(key uint64, canary bool, f finding) string {
	if !e.keys.takes(key) {
		return ""
	}
	u, arm := e.keys.of(key), armOf(canary)
	u.canary = canary
	if u.tried[f.check] != e.mark() {
		u.tried[f.check] = e.mark()
		e.tried[f.check][arm]++
	}
	if f.bad && u.bad[f.check] != e.mark() {
		e.weigh(f.check, e.theta(u, f.check), canary)
		u.bad[f.check], u.wasCanary[f.check] = e.mark(), canary
		e.bad[f.check][arm]++
	}
	if e.keys.put(key, u) {
		e.recount()
	}
	if f.bad && e.strength(f.check) >= e.limit(f.check) {
		return fmt.Sprintf("%s: %d of %d users of the canary, %d of %d of the stable version",
			checkNames[f.check], e.bad[f.check][1], e.tried[f.check][1], e.bad[f.check][0], e.tried[f.check][0])
	}
	return ""
}

// theta is how likely it is that a user is the canary's of whom nothing is known but
// what was counted before. Of one who was the stable version's then, some were taken
// since; one who was the canary's then still is, so that it says nothing: 1.
func (e *evidence) theta(u user, check int) float64 {
	now := e.shares[e.step]
	switch {
	case u.bad[check] == 0:
		return now
	case u.wasCanary[check]:
		return 1
	}
	before := e.shares[u.bad[check]-1]
	return (now - before) / (1 - before)
}

// weigh counts a user to whom something bad happened.
func (e *evidence) weigh(check int, theta float64, canary bool) {
	if theta <= 0 || theta >= 1 {
		return
	}
	likely := func(ratio float64) float64 { // of what happened, at that ratio
		p := ratio * theta / (ratio*theta + 1 - theta)
		if canary {
			return p
		}
		return 1 - p
	}
	since := 0.0 // the weight of a canary that is bad from here on
	if n := float64(e.weighed[check]); n > 0 {
		since = (1 - early) / (n * (n + 1))
	}
	e.weighed[check]++
	for i, r := range ratios {
		e.worse[check][i] = logSum(e.worse[check][i], since) + math.Log(likely(r)/likely(1))
	}
	for i, part := range parts {
		e.fit[check][i] += math.Log(likely(part*e.cfg.Margin) / likely(e.cfg.Margin))
	}
}

// strength is the evidence that the canary is worse.
func (e *evidence) strength(check int) float64 { return meanExp(e.worse[check][:]) }

func (e *evidence) limit(check int) float64 {
	return float64(e.cfg.Replicas) / (e.cfg.Risk * riskShares[check])
}

// logSum is the logarithm of exp(log)+v.
func logSum(log, v float64) float64 {
	if log > 0 {
		return log + math.Log1p(v*math.Exp(-log))
	}
	return math.Log(math.Exp(log) + v)
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
