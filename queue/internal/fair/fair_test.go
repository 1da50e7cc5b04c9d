package fair_test

import (
	"testing"
	"time"

	"github.com/ginfer/ginfer/queue/internal/fair"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func all(jet.Lane) bool { return true }

var now = time.Unix(1_700_000_000, 0)

// serve gives n turns of one task and counts them.
func serve(p *fair.Picker, n int, allow func(jet.Lane) bool) map[jet.Lane]int {
	got := map[jet.Lane]int{}
	for range n {
		l, _, ok, _ := p.Next(now, allow)
		if !ok {
			break
		}
		p.Took(l, 1)
		got[l]++
	}
	return got
}

func TestShares(t *testing.T) {
	t.Parallel()
	weights := map[string]int{"heavy": 2, "none": 0}
	p := fair.New([]int{16, 4, 1}, func(tenant string) int { return weights[tenant] })
	lanes := []jet.Lane{{Class: 0, Tenant: "a"}, {Class: 0, Tenant: "heavy"}, {Class: 1, Tenant: "none"}, {Class: 2, Tenant: "a"}}
	for _, l := range lanes {
		p.Ready(l, now, now)
	}
	p.Ready(jet.Lane{Class: 3}, now, now) // no such class
	p.Ready(jet.Lane{Class: -1}, now, now)
	got := serve(p, 2100, all)
	assert.InDelta(t, 1600, got[lanes[0]]+got[lanes[1]], 3)
	assert.InDelta(t, 2*got[lanes[0]], got[lanes[1]], 3)
	assert.InDelta(t, 400, got[lanes[2]], 3)
	assert.InDelta(t, 100, got[lanes[3]], 3)
}

// Who comes late gets its part from then on, not what it missed.
func TestNoCredit(t *testing.T) {
	t.Parallel()
	p := fair.New([]int{4, 1}, nil)
	a, b, c := jet.Lane{Tenant: "a"}, jet.Lane{Tenant: "b"}, jet.Lane{Class: 1}
	p.Ready(a, now, now)
	p.Ready(b, now, now)
	serve(p, 10, all)
	p.Empty(b, now.Add(1))
	serve(p, 1000, all)
	p.Ready(b, now, now)
	got := serve(p, 100, all)
	assert.InDelta(t, 50, got[b], 2, "a lane that was empty")
	p.Ready(c, now, now)
	got = serve(p, 100, all)
	assert.InDelta(t, 20, got[c], 2, "a class that was empty")
	d := jet.Lane{Tenant: "d"}
	p.Ready(d, now, now)
	got = serve(p, 90, func(l jet.Lane) bool { return l.Class == 0 })
	assert.InDelta(t, 30, got[d], 2, "a new lane")
}

func TestWhen(t *testing.T) {
	t.Parallel()
	p := fair.New([]int{1}, nil)
	a, b := jet.Lane{Tenant: "a"}, jet.Lane{Tenant: "b"}
	_, _, ok, wait := p.Next(now, all)
	assert.False(t, ok)
	assert.Greater(t, wait, 1000*time.Hour, "nobody is known")
	p.Empty(a, now) // unknown lanes do no harm
	p.Pause(a, now)
	p.Took(a, 1)

	p.Ready(a, now, now.Add(time.Minute))
	p.Ready(b, now, now)
	p.Pause(b, now.Add(time.Second))
	p.Pause(b, now.Add(time.Millisecond)) // the longer one counts
	p.Ready(b, now, now)
	_, _, ok, wait = p.Next(now, all)
	assert.False(t, ok, "a pause outlives news")
	assert.Equal(t, time.Second, wait)
	got, others, ok, _ := p.Next(now.Add(time.Hour), all)
	assert.True(t, ok)
	assert.Equal(t, 1, others)
	assert.Equal(t, a, got, "alike: by name")
	_, _, ok, _ = p.Next(now.Add(time.Hour), func(jet.Lane) bool { return false })
	assert.False(t, ok)
}

// News that came while a lane was asked is not lost.
func TestEmpty(t *testing.T) {
	t.Parallel()
	p := fair.New([]int{1}, nil)
	a := jet.Lane{Tenant: "a"}
	p.Ready(a, now, now)
	p.Empty(a, now) // asked at the moment of the news
	_, _, ok, _ := p.Next(now, all)
	assert.True(t, ok)
	p.Empty(a, now.Add(1))
	_, _, ok, _ = p.Next(now, all)
	assert.False(t, ok)
}

// What was given back is remembered, also when the lane is found empty before.
func TestDue(t *testing.T) {
	t.Parallel()
	p := fair.New([]int{1}, nil)
	a := jet.Lane{Tenant: "a"}
	p.Ready(a, now, now)
	p.Ready(a, now, now.Add(2*time.Second))
	p.Ready(a, now, now.Add(time.Second)) // the earlier counts
	p.Ready(a, now, now.Add(3*time.Second))
	p.Empty(a, now.Add(1))
	_, _, ok, wait := p.Next(now, all)
	assert.False(t, ok)
	assert.Equal(t, time.Second, wait)
	p.Empty(a, now.Add(time.Second+1))
	_, _, ok, _ = p.Next(now.Add(time.Minute), all)
	assert.False(t, ok)
}

func TestKeep(t *testing.T) {
	t.Parallel()
	p := fair.New([]int{1}, nil)
	a, b, c := jet.Lane{Tenant: "a"}, jet.Lane{Tenant: "b"}, jet.Lane{Tenant: "c"}
	for _, l := range []jet.Lane{a, b, c} {
		p.Ready(l, now, now.Add(time.Second))
	}
	p.Ready(b, now, now)
	p.Keep(map[jet.Lane]uint64{a: 1}, now)
	got := map[jet.Lane]int{}
	for range 3 {
		if l, _, ok, _ := p.Next(now.Add(time.Minute), all); ok {
			p.Took(l, 1)
			got[l]++
		}
	}
	assert.Len(t, got, 2, "a has tasks, b is known to have; c is forgotten: %v", got)
}
