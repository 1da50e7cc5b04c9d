package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// announce sends headers that announce a body of n bytes, and none of it.
func announce(ctx context.Context, h http.Handler, n int64) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", io.NopCloser(strings.NewReader("")))
	r.ContentLength = n
	r.Header.Set("X-User", "a")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// One header must not put a bucket that others share into debt for ever.
func TestAttackAnnouncedLength(t *testing.T) {
	t.Parallel()
	s, settled := newShared(t), make(chan struct{})
	h := serve2(tokens(t, ratelimit.TokensConfig{Key: ratelimit.Everybody, Rate: 1000, Burst: 100_000, Store: s.Memory, OnEvent: func(_ context.Context, e ratelimit.Event) {
		if e.Kind == ratelimit.Settled {
			close(settled)
		}
	}}).Middleware(), func(c *gin.Context) {
		if _, err := io.Copy(io.Discard, c.Request.Body); err != nil {
			c.AbortWithStatus(http.StatusBadRequest)
		}
	})
	server := httptest.NewServer(h)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	_, err = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{", int64(math.MaxInt64))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	<-settled
	got := level(t, s, ratelimit.Bucket{Limit: "tokens", Key: "*", Rate: 1000, Burst: 100_000})
	assert.Greater(t, got, -1e9, "nobody gets a token for the next %.0f years", -got/1000/86400/365)
}

// Nor may it run over: then it costs nothing, and what was spent returns.
func TestAttackLengthOverflow(t *testing.T) {
	t.Parallel()
	s, seen := newShared(t), new(events)
	b := ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 0.0001, Burst: 1 << 30}
	h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: b.Rate, Burst: b.Burst, Store: s.Memory, OnEvent: seen.on}).Middleware(), func(c *gin.Context) {
		if c.Request.ContentLength < 1000 {
			asJSON(200, `{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":1000,"completion_tokens":20}}`)(c)
			return
		}
		c.String(200, "text")
	})
	for range 50 {
		post(t.Context(), h, `{"prompt":"x"}`) // no model: what is learnt counts for every body that is not read
	}
	before := level(t, s, b)
	announce(t.Context(), h, math.MaxInt64)
	assert.Greater(t, seen.of(ratelimit.Allowed)[50].Tokens, int64(1000), "reserved")
	assert.LessOrEqual(t, level(t, s, b), before, "nothing is minted")
}

// Many tiny prompts, of which the template is the larger part, say nothing of long
// ones: another user's must still be estimated about right.
func TestAttackTinyPrompts(t *testing.T) {
	t.Parallel()
	seen := new(events)
	h := serve2(tokens(t, ratelimit.TokensConfig{Key: ratelimit.Everybody, Rate: 1000, Burst: 1e6, OnEvent: seen.on}).Middleware(),
		asJSON(200, `{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":27,"completion_tokens":20}}`))
	const form = `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"%s"}]}`
	for range 100 {
		post(t.Context(), h, fmt.Sprintf(form, "x"))
	}
	post(t.Context(), h, fmt.Sprintf(form, strings.Repeat("word ", 8000))) // 40 000 bytes, about 10 000 tokens
	assert.Less(t, seen.of(ratelimit.Allowed)[100].Tokens, int64(20_000))
}

// A number of answers that no server writes must not teach that answers are short.
func TestAttackTimes(t *testing.T) {
	t.Parallel()
	seen := new(events)
	h := serve2(tokens(t, ratelimit.TokensConfig{Key: ratelimit.Everybody, Rate: 1000, Burst: 1e9, OnEvent: seen.on}).Middleware(),
		asJSON(200, `{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":5,"completion_tokens":12800}}`))
	for range 100 {
		post(t.Context(), h, `{"model":"m","n":1000000000,"messages":[]}`)
	}
	post(t.Context(), h, `{"model":"m","n":128,"messages":[]}`)
	assert.Greater(t, seen.of(ratelimit.Allowed)[100].Tokens, int64(6400))
}

// A budget that is used up stays so when the store fails.
func TestAttackBudgetInOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		h := app(limiter(t, ratelimit.Config{
			Limits: []ratelimit.Limit{{Key: byUser, Budget: 100, Period: ratelimit.Month}}, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1}), Lease: -1,
		}).Middleware())
		admitted := count(h, "a", 200)[200]
		for range 5 { // it comes and goes
			s.set(errDown)
			admitted += count(h, "a", 200)[200]
			s.set(nil)
			time.Sleep(1100 * time.Millisecond)
			ask(h, "a")
			synctest.Wait()
		}
		assert.LessOrEqual(t, admitted, 100)
	})
}

// A store that comes and goes gives no burst each time.
func TestAttackFlapping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 0.001, Burst: 100, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1}), Lease: -1}).Middleware())
		admitted := count(h, "a", 200)[200]
		for range 10 {
			s.set(errDown)
			admitted += count(h, "a", 200)[200]
			s.set(nil)
			time.Sleep(1100 * time.Millisecond)
			ask(h, "a")
			synctest.Wait()
		}
		assert.LessOrEqual(t, admitted, 200, "the limit, and once a share of it")
	})
}

// More replicas than a budget has requests let in no more than it has.
func TestAttackSmallBudgetShare(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	s.set(errDown)
	admitted := 0
	for range 8 {
		h := app(limiter(t, ratelimit.Config{
			Limits: []ratelimit.Limit{{Key: byUser, Budget: 3, Period: ratelimit.Month}}, Store: over(t, s, ratelimit.SharedConfig{Replicas: 8}),
		}).Middleware())
		admitted += count(h, "a", 5)[200]
	}
	assert.LessOrEqual(t, admitted, 3)
}

// Limiters that use one store have one share of it, as the groups of a gateway have.
func TestAttackTwoLimitersInOutage(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	s.set(errDown)
	admitted := 0
	one := over(t, s, ratelimit.SharedConfig{Replicas: 2})
	for range 3 {
		h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 0.001, Burst: 20, Store: one}).Middleware())
		admitted += count(h, "a", 30)[200]
	}
	assert.LessOrEqual(t, admitted, 10, "half of 20")
}

// slowToSettle is a store that takes its time.
type slowToSettle struct {
	*shared
	delay atomic.Int64
}

func (s *slowToSettle) Settle(ctx context.Context, some []ratelimit.Settlement) error {
	defer time.Sleep(time.Duration(s.delay.Load()))
	return s.shared.Settle(ctx, some)
}

// What ends while a store is told what it missed is settled too.
func TestAttackSettledInRecovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, seen := &slowToSettle{shared: newShared(t)}, new(events)
		ends := make(chan chan struct{}, 2)
		h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1000, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1, OnEvent: seen.on}), OnEvent: seen.on}).Middleware(),
			func(c *gin.Context) {
				if c.Query("wait") != "" {
					end := make(chan struct{})
					ends <- end
					<-end
				}
				asJSON(200, answer)(c)
			})
		request := func(user, url string) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(question))
			r.Header.Set("X-User", user)
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		for range 2 {
			go request("a", "/?wait=1")
		}
		first, second := <-ends, <-ends
		s.set(errDown)
		close(first)
		synctest.Wait()
		require.Len(t, seen.of(ratelimit.StoreDown), 1)
		s.set(nil)
		s.delay.Store(int64(500 * time.Millisecond))
		time.Sleep(1100 * time.Millisecond)
		request("b", "/") // it is asked, and told of the first
		time.Sleep(100 * time.Millisecond)
		close(second)
		time.Sleep(2 * time.Second)
		require.Len(t, seen.of(ratelimit.StoreUp), 1)
		request("c", "/")
		time.Sleep(time.Minute)
		assert.InDelta(t, 1000-30-30, level(t, s.Memory, ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 0.0001, Burst: 1000}), 1)
	})
}

// The end of one outage does not end the next.
func TestAttackLateRecovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, seen := &slowToSettle{shared: newShared(t)}, new(events)
		h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1000, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1, OnEvent: seen.on}), OnEvent: seen.on}).Middleware(),
			func(c *gin.Context) { time.Sleep(time.Second); asJSON(200, answer)(c) })
		go post(t.Context(), h, question)
		time.Sleep(time.Millisecond)
		s.set(errDown)
		time.Sleep(time.Second)
		require.Len(t, seen.of(ratelimit.StoreDown), 1)
		s.set(nil)
		s.delay.Store(int64(3500 * time.Millisecond))
		for range 4 { // a probe each second; the first takes 3.5 s
			time.Sleep(1010 * time.Millisecond)
			go post(t.Context(), h, question)
		}
		assert.LessOrEqual(t, len(seen.of(ratelimit.StoreUp)), 1)
		s.delay.Store(0)
		s.set(errDown)
		post(t.Context(), h, question)
		time.Sleep(time.Minute)
		assert.GreaterOrEqual(t, len(seen.of(ratelimit.StoreDown)), len(seen.of(ratelimit.StoreUp))+1, "it is down")
	})
}

// Who comes back when he was told to is let in, when nobody else is there.
func TestAttackRetryAfterOfLeases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, seen := newShared(t), new(events)
		h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 100, Burst: 100, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1, OnEvent: seen.on}), OnEvent: seen.on}).Middleware())
		require.NoError(t, s.Settle(t.Context(), []ratelimit.Settlement{{Bucket: ratelimit.Bucket{Limit: "requests", Key: "a", Rate: 100, Burst: 100}, Spent: 100}}))
		require.Equal(t, 429, ask(h, "a").Code)
		time.Sleep(seen.of(ratelimit.Refused)[0].Wait)
		assert.Equal(t, 200, ask(h, "a").Code, "after %v", seen.of(ratelimit.Refused)[0].Wait)
	})
}

// Nobody waits for a budget, not even in the last millisecond of its period.
func TestAttackWaitForMidnight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := app(limiter(t, ratelimit.Config{
			Limits: []ratelimit.Limit{{Key: byUser, Budget: 1, Period: ratelimit.Day}}, Wait: ratelimit.Wait{Max: 1010 * time.Microsecond},
		}).Middleware())
		now := time.Now().UTC()
		midnight := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, time.UTC)
		time.Sleep(time.Until(midnight) - time.Millisecond)
		require.Equal(t, 200, ask(h, "a").Code)
		begin := time.Now()
		assert.Equal(t, 429, ask(h, "a").Code)
		assert.Zero(t, time.Since(begin))
	})
}

// A limit whose bucket was not asked does not say that nothing is left.
func TestAttackHeadersBehindAQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := app(limiter(t, ratelimit.Config{
			Limits: []ratelimit.Limit{{Name: "all", Key: ratelimit.Everybody, Rate: 0.01, Burst: 100}, {Name: "user", Key: byUser, Rate: 1, Burst: 1}},
			Wait:   ratelimit.Wait{Max: 1500 * time.Millisecond},
		}).Middleware())
		ask(h, "a")
		done := make(chan struct{})
		go func() { defer close(done); ask(h, "a") }()
		synctest.Wait()
		w := ask(h, "a")
		<-done
		require.Equal(t, 429, w.Code)
		assert.NotContains(t, strings.Join(w.Header()["Ratelimit"], ","), `"all";r=0`, "98 are left")
		assert.Equal(t, "1", w.Header().Get("X-Ratelimit-Limit-Requests"), "of the limit that refused")
	})
}

// x-ratelimit-* is of the limit that refused.
func TestAttackHeadersOfRefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := app(limiter(t, ratelimit.Config{
			Limits: []ratelimit.Limit{{Name: "all", Key: ratelimit.Everybody, Rate: 0.01, Burst: 100}, {Name: "user", Key: byUser, Rate: 1, Burst: 1}},
		}).Middleware())
		for i := range 60 {
			ask(h, strconv.Itoa(i))
		}
		ask(h, "a")
		time.Sleep(900 * time.Millisecond)
		w := ask(h, "a")
		require.Equal(t, 429, w.Code)
		assert.Equal(t, "0", w.Header().Get("X-Ratelimit-Remaining-Requests"))
		assert.Equal(t, "100ms", w.Header().Get("X-Ratelimit-Reset-Requests"))
	})
}

// Who lets everybody in does not tell them that nothing is left.
func TestAttackHeadersOfAllow(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	s.set(errDown)
	h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 0.001, Burst: 10, Store: over(t, s, ratelimit.SharedConfig{Down: ratelimit.Allow})}).Middleware())
	w := ask(h, "a")
	require.Equal(t, 200, w.Code)
	assert.NotEqual(t, "0", w.Header().Get("X-Ratelimit-Remaining-Requests"))
}

// Of a full queue, the one that would be served last makes room, whatever its line.
func TestAttackFullQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 1, Burst: 1, Wait: ratelimit.Wait{
			Max: 10 * time.Second, Size: 3,
			Priority: func(c *gin.Context) int { return len(c.GetHeader("X-User")) },
		}}).Middleware())
		var wg sync.WaitGroup
		ask(h, "a")
		for range 3 {
			wg.Go(func() { ask(h, "a") })
		}
		synctest.Wait()
		ask(h, "important")
		assert.Equal(t, 200, ask(h, "important").Code, "it would be served in a second, before two of the others")
		wg.Wait()
	})
}

// A turn that was not had is not paid for.
func TestAttackFairnessAfterLeaving(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 1, Min: 1, Max: 1, Wait: ratelimit.Wait{Max: time.Hour, Tenant: byUser}})
		h := serve(a.Middleware(), func(c *gin.Context) {
			mu.Lock()
			order = append(order, c.GetHeader("X-User"))
			mu.Unlock()
			time.Sleep(time.Second)
		})
		var wg sync.WaitGroup
		wg.Go(func() { ask(h, "first") })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		for range 20 {
			wg.Go(func() { askIn(ctx, h, "a") })
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		for range 5 {
			wg.Go(func() { ask(h, "a") })
			synctest.Wait()
			wg.Go(func() { ask(h, "b") })
			synctest.Wait()
		}
		wg.Wait()
		require.Len(t, order, 11)
		assert.Contains(t, order[1:4], "a", "it has as many turns as b: %v", order)
	})
}

// Tenants that left are forgotten.
func TestAttackTenantsAreForgotten(t *testing.T) { //nolint:paralleltest // it measures memory
	n, hold, held := 0, make(chan struct{}), make(chan struct{})
	a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 1, Min: 1, Max: 1, Wait: ratelimit.Wait{Max: time.Hour, Tenant: func(*gin.Context) (string, error) {
		n++
		return fmt.Sprint(n, strings.Repeat("x", 10_000)), nil
	}}})
	h := serve(a.Middleware(), func(*gin.Context) { close(held); <-hold })
	done := make(chan struct{})
	go func() { defer close(done); ask(h, "") }()
	<-held
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	before := heap()
	for range 2000 {
		askIn(gone, h, "")
	}
	assert.Less(t, heap()-before, int64(5_000_000))
	close(hold)
	<-done
}

// A slow key function holds nobody up.
func TestAttackSlowTenant(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}), make(chan struct{})
	a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 1, Min: 1, Max: 1, Wait: ratelimit.Wait{Max: time.Hour, Tenant: func(*gin.Context) (string, error) {
		close(asked)
		<-answer
		return "a", nil
	}}})
	held, hold := make(chan struct{}), make(chan struct{})
	h := serve(a.Middleware(), func(c *gin.Context) {
		if c.GetHeader("X-User") == "first" {
			close(held)
			<-hold
		}
	})
	first := make(chan struct{})
	go func() { defer close(first); ask(h, "first") }()
	<-held
	second := make(chan struct{})
	go func() { defer close(second); ask(h, "a") }()
	<-asked
	close(hold)
	select {
	case <-first:
	case <-time.After(time.Second):
		t.Error("a request can't end while another's tenant is looked up")
	}
	close(answer)
	<-first
	<-second
}

// First tokens that take no measurable time do not close the door for ever.
func TestAttackNoTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 2, Min: 1, Max: 10})
		h := serve(a.Middleware(), func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			_, _ = c.Writer.WriteString("data: a\n\n")
		})
		for range 20 {
			ask(h, "")
			time.Sleep(200 * time.Millisecond)
		}
		assert.Equal(t, 200, ask(h, "").Code)
		assert.Positive(t, a.Limit())
	})
}

// A budget that is raised is at once as much larger, and one that is lowered counts
// what was spent.
func TestAttackBudgetChanges(t *testing.T) {
	t.Parallel()
	m, err := ratelimit.NewMemory(ratelimit.MemoryConfig{})
	require.NoError(t, err)
	at := func(budget int64) http.Handler {
		return app(limiter(t, ratelimit.Config{Limits: []ratelimit.Limit{{Key: byUser, Budget: budget, Period: ratelimit.Month}}, Store: m}).Middleware())
	}
	require.Equal(t, 100, count(at(100), "a", 110)[200])
	assert.Equal(t, 50, count(at(150), "a", 110)[200], "raised from 100 to 150")
	require.Equal(t, 60, count(at(200), "b", 60)[200])
	assert.Equal(t, 0, count(at(50), "b", 110)[200], "60 of 50 are spent")
}

// The end of a request that began before a reload does not bring the old size back.
func TestAttackReloadWhileUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		old := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 1, Burst: 500, Store: s.Memory}).Middleware(),
			func(c *gin.Context) { time.Sleep(time.Hour); asJSON(200, answer)(c) })
		done := make(chan struct{})
		go func() { defer close(done); post(t.Context(), old, question) }()
		synctest.Wait()
		b := ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 100, Burst: 100_000}
		level(t, s, b)
		time.Sleep(time.Hour + time.Second)
		<-done
		assert.Greater(t, level(t, s, b), 90_000.0)
	})
}

// A budget that is borrowed from in small parts can still be used.
func TestAttackLeasesOfABudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		h := app(limiter(t, ratelimit.Config{
			Limits: []ratelimit.Limit{{Key: byUser, Budget: 1000, Period: ratelimit.Month}}, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1}), Lease: time.Second,
		}).Middleware())
		admitted := 0
		for range 200 {
			for range 9 {
				if ask(h, "a").Code == 200 {
					admitted++
				}
			}
			time.Sleep(20 * time.Second)
		}
		assert.GreaterOrEqual(t, admitted, 850)
	})
}

// A lease that is over before it can be used does not empty the store.
func TestAttackShortLease(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 0.001, Burst: 1000, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1}), Lease: time.Nanosecond}).Middleware())
	assert.Equal(t, 200, ask(h, "a").Code)
	assert.LessOrEqual(t, s.calls(), 3)
}

// What fails is refunded also when a handler ended a context of its own.
func TestAttackInnerContext(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1000, Store: s.Memory}).Middleware(),
		func(c *gin.Context) {
			ctx, cancel := context.WithTimeout(c.Request.Context(), time.Minute)
			defer cancel()
			c.Request = c.Request.WithContext(ctx)
			c.Next()
		}, asJSON(500, `{}`))
	post(t.Context(), h, question)
	assert.InDelta(t, 1000, level(t, s, ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 0.0001, Burst: 1000}), 0.01)
}

// What is held for a slow answer that is no stream is kept alive too.
func TestAttackHoldOfASlowAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &counting{Memory: newShared(t).Memory}
		during := int64(0)
		h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1000, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1})}).Middleware(),
			func(c *gin.Context) {
				time.Sleep(5 * time.Minute)
				during = s.settles.Load()
				asJSON(200, answer)(c)
			})
		post(t.Context(), h, question)
		assert.GreaterOrEqual(t, during, int64(5), "redisstore gives it back after a minute")
	})
}

type counting struct {
	*ratelimit.Memory
	settles atomic.Int64
}

func (c *counting) Settle(ctx context.Context, some []ratelimit.Settlement) error {
	c.settles.Add(1)
	return c.Memory.Settle(ctx, some)
}

// Nothing stays reserved when an OnEvent panics.
func TestAttackPanickingHook(t *testing.T) {
	t.Parallel()
	s, b := newShared(t), ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 0.0001, Burst: 1000}
	h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: b.Rate, Burst: b.Burst, Store: s.Memory, OnEvent: func(_ context.Context, e ratelimit.Event) {
		if e.Kind == ratelimit.Allowed {
			panic("x")
		}
	}}).Middleware(), asJSON(200, answer))
	assert.Panics(t, func() { post(t.Context(), h, question) })
	assert.InDelta(t, 1000, level(t, s, b), 0.01)
}

// An empty part of a key is no key.
func TestAttackJoinOfNothing(t *testing.T) {
	t.Parallel()
	nothing := func(*gin.Context) (string, error) { return "", nil }
	h := app(limiter(t, ratelimit.Config{Key: ratelimit.Join(nothing, nothing), Rate: 1}).Middleware())
	assert.Equal(t, 400, ask(h, "a").Code)
}

// A stream that says at once that it failed is a failure.
func TestAttackStreamThatFails(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	h := serve2(tokens(t, ratelimit.TokensConfig{Key: byUser, Rate: 0.0001, Burst: 1000, Store: s.Memory}).Middleware(),
		asStream("data: {\"error\":{\"message\":\"overloaded\"}}\n\n"))
	post(t.Context(), h, question)
	assert.InDelta(t, 1000, level(t, s, ratelimit.Bucket{Limit: "tokens", Key: "a", Rate: 0.0001, Burst: 1000}), 0.01)
}

// panics fails with a bug from the third Take on.
type panics struct {
	*shared
	n atomic.Int64
}

func (p *panics) Take(ctx context.Context, charges []ratelimit.Charge) error {
	if p.n.Add(1) > 2 {
		panic(errors.New("a bug"))
	}
	return p.shared.Take(ctx, charges)
}

// A store that panics behind the queue does not end the process.
func TestAttackPanicBehindTheQueue(t *testing.T) {
	t.Parallel()
	if os.Getenv("GINFER_ATTACK") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestAttackPanicBehindTheQueue$")
		cmd.Env = append(os.Environ(), "GINFER_ATTACK=1")
		out, err := cmd.CombinedOutput()
		assert.NoError(t, err, "%.300s", out)
		return
	}
	r := gin.New()
	r.Use(gin.RecoveryWithWriter(io.Discard), limiter(t, ratelimit.Config{
		Key: byUser, Rate: 100, Burst: 1, Store: over(t, &panics{shared: newShared(t)}, ratelimit.SharedConfig{Replicas: 1}), Lease: -1, Wait: ratelimit.Wait{Max: time.Second},
	}).Middleware())
	r.GET("/", func(*gin.Context) {})
	ask(r, "a")
	assert.GreaterOrEqual(t, ask(r, "a").Code, 500)
}

// Turns of a higher priority do not push newcomers behind everybody else.
func TestAttackFairnessBelowPriority(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 1, Min: 1, Max: 1, Wait: ratelimit.Wait{Max: time.Hour, Tenant: byUser, Priority: func(c *gin.Context) int {
			return strings.Count(c.GetHeader("X-User"), "!")
		}}})
		h := serve(a.Middleware(), func(c *gin.Context) {
			mu.Lock()
			order = append(order, c.GetHeader("X-User"))
			mu.Unlock()
			time.Sleep(time.Second)
		})
		var wg sync.WaitGroup
		enter := func(user string, n int) {
			for range n {
				wg.Go(func() { ask(h, user) })
				synctest.Wait()
			}
		}
		enter("first", 1)
		enter("b", 10)
		enter("a!", 20)
		time.Sleep(20500 * time.Millisecond) // the last of a's is being served
		enter("c", 1)
		wg.Wait()
		require.Len(t, order, 32)
		assert.Contains(t, order[21:24], "c", "%v", order[21:])
	})
}

// Every decision is told.
func TestAttackEventsOfRefusals(t *testing.T) {
	t.Parallel()
	s, seen := newShared(t), new(events)
	s.set(errDown)
	h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 1, Store: over(t, s, ratelimit.SharedConfig{Down: ratelimit.Deny, OnEvent: seen.on}), OnEvent: seen.on}).Middleware())
	require.Equal(t, 503, ask(h, "a").Code)
	require.Equal(t, 400, ask(h, "").Code)
	assert.Len(t, seen.of(ratelimit.Refused), 2)
}

// A client that leaves waits no longer, also when nobody has read its body.
func TestAttackLeavingWithABody(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{}, 2)
	r := gin.New()
	r.Use(func(c *gin.Context) { c.Next(); ended <- struct{}{} },
		limiter(t, ratelimit.Config{Key: ratelimit.Everybody, Rate: 1, Burst: 1, Wait: ratelimit.Wait{Max: 5 * time.Second}}).Middleware())
	r.POST("/", func(*gin.Context) {})
	server := httptest.NewServer(r)
	defer server.Close()
	send := func(patience time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader(question))
		require.NoError(t, err)
		if res, err := server.Client().Do(req); err == nil {
			_ = res.Body.Close()
		}
	}
	send(time.Minute)
	<-ended
	begin := time.Now()
	send(100 * time.Millisecond)
	<-ended
	assert.Less(t, time.Since(begin), 700*time.Millisecond, "it took the turn of somebody who is there")
}

// Whatever clients and handlers do, no place is lost and none is given twice.
func TestAttackAdaptiveStress(t *testing.T) {
	t.Parallel()
	var now, peak atomic.Int64
	a := adaptive(t, ratelimit.AdaptiveConfig{Initial: 4, Min: 4, Max: 4, Wait: ratelimit.Wait{Max: 3 * time.Millisecond, Size: 8, Tenant: byUser}})
	r := gin.New()
	r.Use(gin.RecoveryWithWriter(io.Discard), a.Middleware())
	var n atomic.Int64
	r.GET("/", func(*gin.Context) {
		if in := now.Add(1); in > peak.Load() {
			peak.Store(in)
		}
		defer now.Add(-1)
		time.Sleep(time.Millisecond)
		if n.Add(1)%5 == 0 {
			panic("x")
		}
	})
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			for j := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+(i+j)%4)*time.Millisecond)
				askIn(ctx, r, strconv.Itoa(i%3))
				cancel()
			}
		})
	}
	wg.Wait()
	assert.Zero(t, a.Inflight())
	assert.LessOrEqual(t, peak.Load(), int64(4))
	assert.Greater(t, n.Load(), int64(100))
}

// Nor is a token lost or minted by those who leave a queue.
func TestAttackQueueStress(t *testing.T) {
	t.Parallel()
	for name, lease := range map[string]time.Duration{"asks": -1, "leases": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShared(t)
			var admitted atomic.Int64
			h := serve(limiter(t, ratelimit.Config{
				Limits: []ratelimit.Limit{{Name: "user", Key: byUser, Rate: 400, Burst: 5}, {Name: "all", Key: ratelimit.Everybody, Rate: 1000, Burst: 10}},
				Store:  over(t, s, ratelimit.SharedConfig{Replicas: 1}), Lease: lease,
				Wait: ratelimit.Wait{Max: 20 * time.Millisecond, Size: 50, Tenant: byUser},
			}).Middleware(), func(*gin.Context) { admitted.Add(1) })
			begin := time.Now()
			var wg sync.WaitGroup
			for i := range 30 {
				wg.Go(func() {
					for j := range 40 {
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration((i+j)%9)*time.Millisecond)
						askIn(ctx, h, strconv.Itoa(i%4))
						cancel()
					}
				})
			}
			wg.Wait()
			most := 10 + 1000*time.Since(begin).Seconds() + 1
			assert.LessOrEqual(t, float64(admitted.Load()), most)
			assert.Greater(t, float64(admitted.Load()), most/10)
		})
	}
}

// What was spent while the store was down is spent.
func TestAttackSpentInOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, seen := newShared(t), new(events)
		h := serve2(tokens(t, ratelimit.TokensConfig{
			Limits: []ratelimit.Limit{{Key: byUser, Budget: 10_000, Period: ratelimit.Month}}, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1, OnEvent: seen.on}), OnEvent: seen.on,
		}).Middleware(), asJSON(200, answer))
		s.set(errDown)
		for range 100 {
			post(t.Context(), h, question)
		}
		s.set(nil)
		time.Sleep(1100 * time.Millisecond)
		post(t.Context(), h, question)
		synctest.Wait()
		require.Len(t, seen.of(ratelimit.StoreUp), 1)
		now := time.Now().UTC()
		b := ratelimit.Bucket{Limit: "tokens", Key: "a", Burst: 10_000, Ends: time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)}
		assert.LessOrEqual(t, level(t, s.Memory, b), 10_000-100*30.0)
	})
}
