package storetest

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/require"
)

// slow is a rate without a refill during a test: one token in 11 days.
const slow = 1e-6

// near is the tolerance of a level, which may have filled a little.
const near = 1e-2

// suite is a store with names that no other test uses.
type suite struct {
	t     *testing.T
	store ratelimit.Store
	run   string
}

// Run runs the suite on the stores that factory makes. They may share their buckets, as every
// test uses its own.
func Run(t *testing.T, factory func(t *testing.T) ratelimit.Store) {
	t.Helper()
	tests := map[string]func(*suite){
		"a bucket is full at first":                            full,
		"take without charges checks the store":                ping,
		"all charges are taken or none":                        allOrNothing,
		"charges of one bucket add up":                         sameBucketTwice,
		"earlier results in a charge are ignored":              reusedCharges,
		"a cost above the burst needs a full bucket":           aboveBurst,
		"upto takes half of the level at most, and never less": upto,
		"a bucket fills up to its burst, no further":           refill,
		"wait is correct":                                      honestWait,
		"debt recovers at the rate":                            debtRecovers,
		"a budget does not fill":                               budget,
		"other buckets are not touched":                        names,
		"odd keys are keys":                                    oddKeys,
		"settling ends a reservation":                          settle,
		"several settlements at once":                          settleSeveral,
		"settling an unknown reservation mints nothing":        settleUnknown,
		"taking without a reservation can be undone":           undo,
		"another size keeps the level":                         resize,
		"another size of a budget keeps the spent tokens":      resizeBudget,
		"settling with an old size changes no size":            settleOldSize,
		"big numbers are exact":                                big,
		"concurrent calls take the level and no more":          concurrent,
		"opposite orders do not block each other":              opposite,
		"concurrent reservations leave nothing behind":         concurrentReservations,
		"a canceled call returns":                              canceled,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test(&suite{t: t, store: factory(t), run: rand.Text()})
		})
	}
}

// bucket returns a bucket that hardly fills.
func (s *suite) bucket(limit string, burst int64) ratelimit.Bucket {
	return ratelimit.Bucket{Limit: limit, Key: s.run, Rate: slow, Burst: burst}
}

func charge(b ratelimit.Bucket, cost int64) ratelimit.Charge {
	return ratelimit.Charge{Bucket: b, Cost: cost}
}

func reserve(b ratelimit.Bucket, cost int64) ratelimit.Charge {
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

// level returns the level of a bucket, by a charge that is refused in part and so changes
// nothing.
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

// eventually polls until a condition is true.
func (s *suite) eventually(what func() bool) {
	s.t.Helper()
	require.Eventually(s.t, what, 10*time.Second, time.Millisecond)
}
