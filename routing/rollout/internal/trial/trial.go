// Package trial compares two versions of a model between which users are divided at random.
//
// If the canary is no worse than the stable version, its share θ of the users with a bad
// event equals its share of all users: a hash that knows nothing of the users assigns them.
// The alternatives are that a bad event is r times as likely on the canary. With
// probability 1-α the mean of their likelihood ratios stays below 1/α for ever (Ville's
// inequality), so it may be checked after every request: a conditional mixture sequential
// probability ratio test, as in Lindon et al., "Rapid Regression Detection in Software
// Deployments through Sequential Testing" (KDD 2022).
//
// A user counts once per window: many failures of one user are no more evidence than one.
// Each step begins with a new window, and after Dwell, or a minute, the next one opens.
// So a canary that turns bad is detected although all users have failed once by then.
// Window k is a test of its own with the part 1/(k(k+1)) of α; the parts add up to 1.
package trial

import (
	"fmt"
	"math"
	"time"
)

// Check is one of the comparisons.
type Check int

// The comparisons.
const (
	Failures Check = iota // some response to a user failed
	Latency               // the first response to a user in a window was slow
	Quality               // a response was judged bad
	checks
)

//nolint:gochecknoglobals // constants
var (
	checkNames = [checks]string{"failures", "latency", "quality"}
	// riskShares are the parts of the risk; a dead canary has the rest.
	riskShares = [checks]float64{0.5, 0.3, 0.2 - deadRisk}
	// ratios are the alternatives: how many times as bad the canary may be.
	ratios = [...]float64{1.25, 1.5, 2, 3, 5, 10, 20}
	// parts are the alternatives below a bound, as parts of it.
	parts = [...]float64{0, 0.25, 0.5, 0.75}
)

// confidence is the probability that a check which lets the canary advance is right.
const confidence = 0.95

// minWindow is the least length of a window.
const minWindow = time.Minute

// Config configures a Trial. The fields are those of a rollout's configuration; none has a
// default here.
type Config struct {
	Steps                   []float64
	Dwell                   time.Duration
	MinKeys                 int
	Risk, Margin, Tolerance float64
	Slow                    float64
	SlowBy, Warmup          time.Duration
	AwaitQuality            bool
	Replicas                int
}

// Finding is the result of one comparison for one request.
type Finding struct {
	Check Check
	Bad   bool
	// RequestFault is set when the request itself may be the cause.
	RequestFault bool
}

// Count is what is known about one comparison.
type Count struct {
	Name            string
	StableKeys      int
	StableBad       int
	CanaryKeys      int
	CanaryBad       int
	Evidence, Limit float64
	Ready           bool
}

// Trial holds the evidence of one rollout. It is not safe for concurrent use.
type Trial struct {
	cfg    Config
	step   int
	window int // from 1, over all steps
	opened time.Time
	users  userSet

	worse   [checks][len(ratios)]float64 // logarithms of likelihood ratios, in this window
	fit     [checks][len(parts)]float64  // the same for "less than Margin times as likely", at this step
	seen    [checks][2]int               // users at this step: stable, canary
	bad     [checks][2]int
	latency latency
	streaks streaks
}

// New returns a Trial at the first step.
func New(cfg Config) *Trial {
	t := &Trial{cfg: cfg}
	t.Begin(0, true)
	return t
}

// Begin begins a step, and with reset forgets everything before. The canary must pass every
// step anew: it may not bear the load of more users.
func (t *Trial) Begin(step int, reset bool) {
	if reset {
		*t = Trial{cfg: t.cfg, users: userSet{users: make(map[uint64]user)}}
	}
	t.step = step
	t.seen, t.bad = [checks][2]int{}, [checks][2]int{}
	t.fit = [checks][len(parts)]float64{}
	t.latency.begin()
	t.streaks.current, t.streaks.runs = 0, nil
	t.open()
}

// open begins a window.
func (t *Trial) open() {
	t.window++
	t.opened = time.Now()
	t.worse = [checks][len(ratios)]float64{}
}

func (t *Trial) canaryShare() float64 { return t.cfg.Steps[t.step] }

// Add records a finding about a user. It returns the reason to roll the canary back, or "".
func (t *Trial) Add(key uint64, canary bool, f Finding) string {
	if f.Check == Failures && t.streaks.dead(key, canary, f) && t.streaks.isCertain(t.seen[Failures][1], t.canaryShare(), t.risk()) {
		return fmt.Sprintf("failures: the last %d responses of the canary failed", t.streaks.current)
	}
	return t.count(key, canary, f)
}

// mark is this step as a user's record has it.
func (t *Trial) mark() uint8 { return uint8(t.step + 1) } //nolint:gosec // there are at most 100 steps

// count records a finding once per user and window, and once per user and step.
func (t *Trial) count(key uint64, canary bool, f Finding) string {
	if !t.users.includes(key) {
		return ""
	}
	if time.Since(t.opened) >= max(t.cfg.Dwell, minWindow) {
		t.open()
	}
	u := t.users.get(key)
	u.canary = canary
	if f.Bad && u.window[f.Check] != t.window {
		t.weigh(t.worse[f.Check][:], ratios[:], 1, canary)
	}
	if f.Bad || f.Check == Latency { // the first response counts, slow or not
		u.window[f.Check] = t.window
	}
	if f.Check == Failures && !canary {
		t.streaks.note(&u, f)
	}
	t.note(&u, f)
	if t.users.put(key, u) {
		t.recount()
	}
	if f.Bad && t.strength(f.Check) >= t.limit(f.Check) {
		return fmt.Sprintf("%s: %d of %d users of the canary, %d of %d of the stable version",
			checkNames[f.Check], t.bad[f.Check][1], t.seen[f.Check][1], t.bad[f.Check][0], t.seen[f.Check][0])
	}
	return ""
}

// note counts a user once at this step.
func (t *Trial) note(u *user, f Finding) {
	arm, first := armOf(u.canary), u.seen[f.Check] != t.mark()
	if first {
		u.seen[f.Check] = t.mark()
		t.seen[f.Check][arm]++
	}
	if !f.Bad || u.bad[f.Check] == t.mark() || f.Check == Latency && !first {
		return
	}
	u.bad[f.Check] = t.mark()
	t.bad[f.Check][arm]++
	t.weigh(t.fit[f.Check][:], parts[:], t.cfg.Margin, u.canary)
}

// weigh adds a user with a bad event to logarithms of likelihood ratios: the canary is
// ratio times unit as bad, against unit times as bad.
func (t *Trial) weigh(logs, ratios []float64, unit float64, canary bool) {
	theta := t.canaryShare()
	if theta >= 1 {
		return
	}
	likelihood := func(ratio float64) float64 {
		p := ratio * theta / (ratio*theta + 1 - theta)
		if canary {
			return p
		}
		return 1 - p
	}
	for i, r := range ratios {
		logs[i] += math.Log(likelihood(r*unit) / likelihood(unit))
	}
}

// strength is the evidence that the canary is worse.
func (t *Trial) strength(c Check) float64 { return meanExp(t.worse[c][:]) }

// limit is the strength that rolls back, in this window.
func (t *Trial) limit(c Check) float64 {
	k := float64(t.window)
	return k * (k + 1) / (t.risk() * riskShares[c])
}

// risk is this replica's part of the risk.
func (t *Trial) risk() float64 { return t.cfg.Risk / float64(t.cfg.Replicas) }

// meanExp is the mean of the exponentials.
func meanExp(logs []float64) float64 {
	sum := 0.0
	for _, l := range logs {
		sum += math.Exp(min(l, 700)) // near the largest float64
	}
	return sum / float64(len(logs))
}

// Enough reports whether the canary may advance: enough of its users were seen, and every
// check is ready.
func (t *Trial) Enough() bool {
	for c := range checks {
		if c == Quality && !t.cfg.AwaitQuality {
			continue
		}
		if t.seen[c][1] < t.cfg.MinKeys || !t.ready(c) {
			return false
		}
	}
	return true
}

// ready reports whether the canary is, with confidence, less than Margin times as bad, or
// less than Tolerance worse. The second compares the canary's users with the observed rate
// of the stable version, which is known much better.
func (t *Trial) ready(c Check) bool {
	sure := float64(t.cfg.Replicas) / (1 - confidence) // any replica may advance
	if meanExp(t.fit[c][:]) >= sure {
		return true
	}
	stable, n, bad := 0.0, float64(t.seen[c][1]), float64(t.bad[c][1])
	if t.seen[c][0] > 0 {
		stable = float64(t.bad[c][0]) / float64(t.seen[c][0])
	}
	bound := stable + t.cfg.Tolerance
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

// recount counts this step's users again, after some were evicted.
func (t *Trial) recount() {
	t.seen, t.bad = [checks][2]int{}, [checks][2]int{}
	t.streaks.users, t.streaks.stuck = 0, 0
	for _, u := range t.users.users {
		arm := armOf(u.canary)
		if !u.canary && u.seen[Failures] > 0 {
			t.streaks.users++
		}
		if !u.canary && u.isStuck() {
			t.streaks.stuck++
		}
		for c := range checks {
			if u.seen[c] == t.mark() {
				t.seen[c][arm]++
			}
			if u.bad[c] == t.mark() {
				t.bad[c][arm]++
			}
		}
	}
}

// Counts returns what is known about each comparison.
func (t *Trial) Counts() []Count {
	out := make([]Count, checks)
	for c := range checks {
		out[c] = Count{
			Name:       checkNames[c],
			StableKeys: t.seen[c][0], StableBad: t.bad[c][0],
			CanaryKeys: t.seen[c][1], CanaryBad: t.bad[c][1],
			Evidence: min(t.strength(c), math.MaxFloat64), Limit: t.limit(c), Ready: t.ready(c),
		}
	}
	return out
}

func armOf(canary bool) int {
	if canary {
		return 1
	}
	return 0
}
