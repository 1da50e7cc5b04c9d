package fair_test

import (
	"fmt"
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

// A late tenant gets its share from then on, and no credit.
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
	assert.Greater(t, wait, 1000*time.Hour, "there is no lane")
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

// A Ready that comes during a fetch is not lost.
func TestEmpty(t *testing.T) {
	t.Parallel()
	p := fair.New([]int{1}, nil)
	a := jet.Lane{Tenant: "a"}
	p.Ready(a, now, now)
	p.Empty(a, now) // fetched at the moment of Ready
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

// Tenants of one class get the same, however many there are and however late one comes;
// weights below one count as one.
func TestTenants(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		weights map[string]int
		tenants int
		turns   int
		want    map[string]int
	}{
		{"one", nil, 1, 10, map[string]int{"t0": 10}},
		{"two", nil, 2, 10, map[string]int{"t0": 5, "t1": 5}},
		{"many", nil, 50, 500, map[string]int{"t0": 10, "t25": 10, "t49": 10}},
		{"weights", map[string]int{"t0": 3, "t1": 1, "t2": 1}, 3, 100, map[string]int{"t0": 60, "t1": 20, "t2": 20}},
		{"weights below one", map[string]int{"t0": -5, "t1": 0, "t2": 2}, 3, 100, map[string]int{"t0": 25, "t1": 25, "t2": 50}},
	} {
		p := fair.New([]int{1}, func(tenant string) int {
			if tt.weights == nil {
				return 1
			}
			return tt.weights[tenant]
		})
		for i := range tt.tenants {
			p.Ready(jet.Lane{Tenant: fmt.Sprint("t", i)}, now, now)
		}
		got := serve(p, tt.turns, all)
		for tenant, n := range tt.want {
			assert.InDelta(t, n, got[jet.Lane{Tenant: tenant}], 1, "%s: %s", tt.name, tenant)
		}
	}
}

// A lane that takes several tasks at once is charged for all of them.
func TestTookSeveral(t *testing.T) {
	t.Parallel()
	p := fair.New([]int{1}, nil)
	a, b := jet.Lane{Tenant: "a"}, jet.Lane{Tenant: "b"}
	p.Ready(a, now, now)
	p.Ready(b, now, now)
	p.Took(a, 10)
	p.Took(jet.Lane{Tenant: "unknown"}, 10)
	got := serve(p, 12, all)
	assert.Equal(t, 11, got[b], "until it has caught up")
	assert.Equal(t, 1, got[a])
}

// A lane that is not allowed leaves its turn to the next, and keeps its place.
func TestAllow(t *testing.T) {
	t.Parallel()
	p := fair.New([]int{4, 1}, nil)
	a, b, c := jet.Lane{Tenant: "a"}, jet.Lane{Tenant: "b"}, jet.Lane{Class: 1, Tenant: "a"}
	for _, l := range []jet.Lane{a, b, c} {
		p.Ready(l, now, now)
	}
	notA := func(l jet.Lane) bool { return l.Tenant != "a" }
	got := serve(p, 10, notA)
	assert.Equal(t, map[jet.Lane]int{b: 10}, got)
	next, others, ok, _ := p.Next(now, all)
	assert.True(t, ok)
	assert.Equal(t, 2, others)
	assert.NotEqual(t, b, next)
	_, _, ok, wait := p.Next(now, func(jet.Lane) bool { return false })
	assert.False(t, ok)
	assert.Positive(t, wait)
}

// A pause ends by itself; the longer one counts, and Ready does not end it.
func TestPause(t *testing.T) {
	t.Parallel()
	p := fair.New([]int{1}, nil)
	a := jet.Lane{Tenant: "a"}
	p.Pause(a, now.Add(time.Hour)) // unknown: nothing to pause
	p.Ready(a, now, now)
	_, _, ok, _ := p.Next(now, all)
	assert.True(t, ok)
	p.Pause(a, now.Add(2*time.Second))
	p.Pause(a, now.Add(time.Second))
	p.Ready(a, now, now)
	_, _, ok, wait := p.Next(now.Add(500*time.Millisecond), all)
	assert.False(t, ok)
	assert.Equal(t, 1500*time.Millisecond, wait)
	_, _, ok, _ = p.Next(now.Add(2*time.Second), all)
	assert.True(t, ok)
}
