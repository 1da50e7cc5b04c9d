package attempt_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/attempt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A request that no proxy made has no try; balancers ask it all the same.
func TestNil(t *testing.T) {
	t.Parallel()
	none := attempt.From(t.Context())
	require.Nil(t, none)
	require.Nil(t, attempt.From(attempt.With(t.Context(), nil)))
	none.Use("a")
	none.SetOthers(3)
	none.Fail(errors.New("x"))
	assert.Equal(t, 1, none.Number())
	assert.True(t, none.Final(nil, errors.New("x")), "nobody will repeat it")
	assert.True(t, none.Spend(), "nobody counts")
	assert.False(t, none.Used("a"))
	assert.Empty(t, none.Endpoint())
	assert.Zero(t, none.Others())
	assert.Zero(t, none.ConnectTimeout())
	assert.NoError(t, none.Err())
}

func TestContext(t *testing.T) {
	t.Parallel()
	var x attempt.Exchange
	first, second := x.Try(1), x.Try(2)
	ctx := attempt.With(t.Context(), first)
	assert.Same(t, first, attempt.From(ctx))
	inner := attempt.With(ctx, second)
	assert.Same(t, second, attempt.From(inner))
	assert.Same(t, first, attempt.From(ctx))
	assert.Equal(t, 1, first.Number())
	assert.Equal(t, 2, second.Number())
}

func TestUse(t *testing.T) {
	t.Parallel()
	var x, other attempt.Exchange
	first, second := x.Try(1), x.Try(2)
	assert.False(t, first.Used("a"))
	assert.False(t, first.Used(""), "no endpoint is not an endpoint")
	assert.Empty(t, first.Endpoint())
	first.Use("a")
	second.Use("b")
	second.Use("c") // after a failed connect
	second.Use("a") // again
	assert.Equal(t, "a", first.Endpoint())
	assert.Equal(t, "a", second.Endpoint(), "the latest")
	for _, endpoint := range []string{"a", "b", "c"} {
		assert.True(t, first.Used(endpoint), "all tries know of %s", endpoint)
		assert.True(t, x.Try(3).Used(endpoint))
		assert.False(t, other.Try(1).Used(endpoint), "another exchange does not")
	}
	assert.False(t, first.Used("d"))
}

func TestOthers(t *testing.T) {
	t.Parallel()
	var x attempt.Exchange
	first, second := x.Try(1), x.Try(2)
	assert.Zero(t, first.Others())
	first.SetOthers(3)
	first.SetOthers(2)
	assert.Equal(t, 2, first.Others())
	assert.Zero(t, second.Others(), "every try counts for itself")
}

func TestFinal(t *testing.T) {
	t.Parallel()
	var x attempt.Exchange
	assert.True(t, x.Try(1).Final(nil, nil), "no caller, no repetition")

	res, cause := &http.Response{StatusCode: http.StatusBadGateway}, errors.New("x")
	var try *attempt.Try
	x.Repeats = func(tr *attempt.Try, r *http.Response, err error) bool {
		assert.Same(t, try, tr)
		assert.Same(t, res, r)
		assert.Equal(t, cause, err)
		return tr.Number() < 2
	}
	try = x.Try(1)
	assert.False(t, try.Final(res, cause))
	try = x.Try(2)
	assert.True(t, try.Final(res, cause))
}

func TestSpend(t *testing.T) {
	t.Parallel()
	var x attempt.Exchange
	for range 100 {
		require.True(t, x.Try(1).Spend(), "no budget, no bound")
	}
	left := 2
	x.Spend = func() bool { left--; return left >= 0 }
	assert.True(t, x.Try(1).Spend())
	assert.True(t, x.Try(2).Spend(), "one budget for all tries")
	assert.False(t, x.Try(1).Spend())
}

func TestConnectTimeout(t *testing.T) {
	t.Parallel()
	var none attempt.Exchange
	assert.Zero(t, none.Try(1).ConnectTimeout())
	x := attempt.Exchange{Connect: time.Second}
	assert.Equal(t, time.Second, x.Try(1).ConnectTimeout())
}

func TestFail(t *testing.T) {
	t.Parallel()
	var x attempt.Exchange
	try := x.Try(1)
	require.NoError(t, try.Err())
	try.Fail(nil)
	require.NoError(t, try.Err(), "success is no verdict")
	first := errors.New("first")
	try.Fail(first)
	try.Fail(errors.New("second"))
	try.Fail(nil)
	assert.Equal(t, first, try.Err())
	assert.NoError(t, x.Try(2).Err())
}

func TestMakeLast(t *testing.T) {
	t.Parallel()
	var x, other attempt.Exchange
	first := x.Try(1)
	assert.False(t, first.Last())
	first.MakeLast()
	assert.True(t, first.Last())
	assert.True(t, x.Try(2).Last(), "it holds for the exchange")
	assert.False(t, other.Try(1).Last())
	var none *attempt.Try
	none.MakeLast()
	assert.False(t, none.Last())
}

func TestAbandoned(t *testing.T) {
	t.Parallel()
	canceled := func(ctx context.Context, cause error) context.Context {
		ctx, cancel := context.WithCancelCause(ctx)
		cancel(cause)
		return ctx
	}
	passed := func(cause error) context.Context {
		ctx, cancel := context.WithDeadlineCause(t.Context(), time.Unix(1, 0), cause)
		cancel()
		return ctx
	}
	wrapped := fmt.Errorf("idle: %w", attempt.ErrTimeout)
	tests := []struct {
		name string
		ctx  context.Context //nolint:containedctx // the table is about contexts
		want bool
	}{
		{"still under way", t.Context(), false},
		{"the client left", canceled(t.Context(), nil), true},
		{"a newer part took over", canceled(t.Context(), errors.New("draining")), true},
		{"the upstream was slow", canceled(t.Context(), attempt.ErrTimeout), false},
		{"the upstream was slow, with details", canceled(t.Context(), wrapped), false},
		{"below a context that ended by a timeout", canceled(canceled(t.Context(), wrapped), errors.New("later")), false},
		{"below one that the client left", canceled(canceled(t.Context(), nil), attempt.ErrTimeout), true},
		{"a passed deadline", passed(nil), false},
		{"a passed deadline with a cause", passed(errors.New("total")), false},
		{"a passed deadline of ours", passed(attempt.ErrTimeout), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, attempt.Abandoned(tt.ctx))
		})
	}
}

// owner records what it is told.
type owner struct{ told []string }

func (o *owner) Alive()             { o.told = append(o.told, "alive") }
func (o *owner) Cancel(cause error) { o.told = append(o.told, fmt.Sprint("cancel ", cause)) }
func (o *owner) Anew(limited bool)  { o.told = append(o.told, fmt.Sprint("anew ", limited)) }

func TestOwner(t *testing.T) {
	t.Parallel()
	var x attempt.Exchange
	var none *attempt.Try
	o := new(owner)
	owned, free := x.Try(1), x.Try(2)
	owned.Own(o)
	for _, try := range []*attempt.Try{owned, free, none} {
		try.Alive()
		try.Cancel(nil)
		try.Anew(true)
	}
	assert.Equal(t, []string{"alive", "cancel <nil>", "anew true"}, o.told)
}

func TestHold(t *testing.T) {
	t.Parallel()
	var none *attempt.Try
	_, wanted := none.Hold()
	assert.False(t, wanted)
	assert.Zero(t, none.FirstByte())
	x := attempt.Exchange{Held: true, Hold: time.Second, FirstByte: time.Minute}
	limit, wanted := x.Try(1).Hold()
	assert.True(t, wanted)
	assert.Equal(t, time.Second, limit)
	assert.Equal(t, time.Minute, x.Try(1).FirstByte())
}

// A hedge never falls back, whatever the caller would do.
func TestHedge(t *testing.T) {
	t.Parallel()
	var none *attempt.Try
	assert.False(t, none.Hedge())
	var x attempt.Exchange
	try := new(attempt.Try)
	x.BeginHedge(try, 2)
	assert.True(t, try.Hedge())
	assert.Equal(t, 2, try.Number())
	assert.False(t, try.Final(nil, errors.New("x")))
	assert.False(t, x.Try(1).Hedge())
}

// The proxy and the transports below it use a try at once; -race looks on.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	var spent atomic.Int64
	x := attempt.Exchange{
		Repeats: func(*attempt.Try, *http.Response, error) bool { return false },
		Spend:   func() bool { return spent.Add(1) <= 50 },
	}
	tries := []*attempt.Try{x.Try(1), x.Try(2)}
	var wg sync.WaitGroup
	var granted atomic.Int64
	for i := range 100 {
		wg.Go(func() {
			try, endpoint := tries[i%2], fmt.Sprint("e", i%5)
			try.Use(endpoint)
			assert.True(t, try.Used(endpoint))
			assert.NotEmpty(t, try.Endpoint())
			try.SetOthers(i)
			_ = try.Others()
			try.Fail(fmt.Errorf("failure %d", i))
			if try.Err() == nil {
				t.Error("a verdict that was given is there")
			}
			assert.True(t, try.Final(nil, nil))
			if try.Spend() {
				granted.Add(1)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 50, granted.Load())
	for i := range 5 {
		assert.True(t, x.Try(3).Used(fmt.Sprint("e", i)))
	}
}
