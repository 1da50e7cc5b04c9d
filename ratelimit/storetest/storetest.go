package storetest

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/require"
)

// slow is a rate at which nothing comes back while a test runs: one in 11 days.
const slow = 1e-6

// near is how exact a level must be: it may have filled by a little.
const near = 1e-2

// suite is a store and names that no other test has used.
type suite struct {
	t     *testing.T
	store ratelimit.Store
	run   string
}

// Run tests a store, which factory makes. The stores of one factory may share what
// they keep: every test uses buckets of its own.
func Run(t *testing.T, factory func(t *testing.T) ratelimit.Store) {
	t.Helper()
	tests := map[string]func(*suite){
		"a bucket is full at first":                                full,
		"no charges ask whether the store answers":                 ping,
		"all charges are taken or none":                            allOrNothing,
		"charges of one bucket add up":                             sameBucketTwice,
		"what a charge said before does not count":                 reusedCharges,
		"a cost above the burst needs a full bucket":               aboveBurst,
		"upto takes half of what is there at most, and never less": upto,
		"a bucket fills up to its burst, no further":               refill,
		"wait is how long it takes":                                honestWait,
		"debt recovers at the rate":                                debtRecovers,
		"a budget does not fill":                                   budget,
		"other buckets are not touched":                            names,
		"odd keys are keys":                                        oddKeys,
		"settling ends a hold by what was spent":                   settle,
		"several settlements at once":                              settleSeveral,
		"settling what is unknown gives nothing away":              settleUnknown,
		"taking without a hold can be undone":                      undo,
		"another size keeps what is there":                         resize,
		"another size of a budget keeps what was spent":            resizeBudget,
		"settling with an old size changes no size":                settleOldSize,
		"big numbers are exact":                                    big,
		"many at once take what is there and no more":              concurrent,
		"opposite orders do not block each other":                  opposite,
		"many holds at once leave nothing behind":                  concurrentHolds,
		"a call that was cancelled returns":                        cancelled,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test(&suite{t: t, store: factory(t), run: rand.Text()})
		})
	}
}

// bucket is one that hardly fills.
func (s *suite) bucket(limit string, burst int64) ratelimit.Bucket {
	return ratelimit.Bucket{Limit: limit, Key: s.run, Rate: slow, Burst: burst}
}

func charge(b ratelimit.Bucket, cost int64) ratelimit.Charge {
	return ratelimit.Charge{Bucket: b, Cost: cost}
}

func held(b ratelimit.Bucket, cost int64) ratelimit.Charge {
	return ratelimit.Charge{Bucket: b, Cost: cost, Reserve: true}
}

func (s *suite) take(charges ...ratelimit.Charge) []ratelimit.Charge {
	s.t.Helper()
	require.NoError(s.t, s.store.Take(s.t.Context(), charges))
	return charges
}

func (s *suite) granted(b ratelimit.Bucket, cost int64) bool {
	s.t.Helper()
	return s.take(charge(b, cost))[0].Granted > 0
}

func (s *suite) settle(settlements ...ratelimit.Settlement) {
	s.t.Helper()
	require.NoError(s.t, s.store.Settle(s.t.Context(), settlements))
}

// level is what a bucket holds. Adding no debt changes nothing; neither does a
// charge of which a part can't be paid.
func (s *suite) level(b ratelimit.Bucket) float64 {
	s.t.Helper()
	empty := ratelimit.Bucket{Limit: "empty", Key: s.run + b.Key, Rate: slow, Burst: 1}
	s.settle(ratelimit.Settlement{Bucket: empty, Spent: 1})
	return s.take(charge(b, 1), charge(empty, 1))[0].Left
}

func (s *suite) requireLevel(b ratelimit.Bucket, want float64) {
	s.t.Helper()
	require.InDelta(s.t, want, s.level(b), near)
}

// eventually asks until something is so.
func (s *suite) eventually(what func() bool) {
	s.t.Helper()
	require.Eventually(s.t, what, 10*time.Second, time.Millisecond)
}
