package evidence_test

import (
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/evidence"
	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Unix(1_000_000, 0)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

func TestWindowCountsTenSeconds(t *testing.T) {
	t.Parallel()
	var w evidence.Window
	for i := range 10 {
		w.Add(at(float64(i)), i%2 == 0)
	}
	assert.Equal(t, evidence.Tally{All: 10, Bad: 5}, w.Tally(at(9.9)))
	assert.Equal(t, evidence.Tally{All: 9, Bad: 4}, w.Tally(at(10)))
	assert.Equal(t, evidence.Tally{All: 9, Bad: 4}, w.Tally(at(3)), "a clock that was set back changes nothing")
	assert.Equal(t, evidence.Tally{}, w.Tally(at(30)))
}

func TestWindowCorrectsTheLatestFailure(t *testing.T) {
	t.Parallel()
	var w evidence.Window
	w.Correct(at(0))
	w.Add(at(0), true)
	w.Add(at(5), true)
	w.Correct(at(7))
	assert.Equal(t, evidence.Tally{All: 2, Bad: 1}, w.Tally(at(7)))
	assert.Equal(t, evidence.Tally{All: 1}, w.Tally(at(11)), "the older one is left")
	w.Correct(at(12))
	assert.Equal(t, evidence.Tally{All: 1}, w.Tally(at(12)))
}

func TestReaches(t *testing.T) {
	t.Parallel()
	assert.True(t, evidence.Tally{All: 10, Bad: 5}.Reaches(50))
	assert.False(t, evidence.Tally{All: 11, Bad: 5}.Reaches(50))
	assert.True(t, evidence.Tally{}.Reaches(50))
}

func TestOthersLeaveOutTheWorstCaller(t *testing.T) {
	t.Parallel()
	type call struct {
		caller uint64
		bad    bool
		n      int
	}
	for name, tt := range map[string]struct {
		calls   []call
		others  evidence.Tally
		several bool
	}{
		"no callers":                    {nil, evidence.Tally{}, false},
		"one alone":                     {[]call{{1, true, 9}}, evidence.Tally{}, false},
		"one beside another's success":  {[]call{{1, true, 9}, {2, false, 1}}, evidence.Tally{All: 1}, false},
		"two":                           {[]call{{1, true, 9}, {2, true, 1}, {2, false, 3}}, evidence.Tally{All: 4, Bad: 1}, true},
		"none failed":                   {[]call{{1, false, 9}, {2, false, 1}}, evidence.Tally{All: 10}, false},
		"more callers than are counted": {crowd[call](func(i int) call { return call{uint64(i), i >= 16, 1} }), evidence.Tally{All: 16}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c evidence.Callers
			for _, one := range tt.calls {
				for range one.n {
					c.Add(at(1), one.caller, one.bad)
				}
			}
			others, several := c.Others(at(2))
			assert.Equal(t, tt.others, others)
			assert.Equal(t, tt.several, several)
		})
	}
}

func crowd[T any](f func(i int) T) (all []T) {
	for i := range 40 {
		all = append(all, f(i))
	}
	return all
}

func TestEntriesOfOldCallersAreReused(t *testing.T) {
	t.Parallel()
	var c evidence.Callers
	for id := range uint64(16) {
		c.Add(at(0), id, false)
	}
	c.Add(at(11), 100, true)
	c.Add(at(11), 101, true)
	_, several := c.Others(at(11))
	assert.True(t, several)
	c.Correct(at(11), 101)
	_, several = c.Others(at(11))
	assert.False(t, several)
}
