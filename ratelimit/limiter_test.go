package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBurstAndRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 2, Burst: 10}).Middleware())
		assert.Equal(t, map[int]int{200: 10, 429: 90}, count(h, "a", 100), "no more than Burst at once")
		assert.Equal(t, map[int]int{200: 10}, count(h, "b", 10), "another key has its own bucket")
		time.Sleep(499 * time.Millisecond)
		w := get(h, "a")
		assert.Equal(t, http.StatusTooManyRequests, w.Code)
		assert.Equal(t, "1", w.Header().Get("Retry-After"))
		assert.Equal(t, "1", w.Header().Get("Retry-After-Ms"))
		assert.Equal(t, "true", w.Header().Get("X-Should-Retry"))
		assert.Contains(t, w.Body.String(), `"code":"rate_limit_exceeded"`)
		time.Sleep(time.Millisecond)
		assert.Equal(t, map[int]int{200: 1, 429: 1}, count(h, "a", 2), "Retry-After was correct")
		time.Sleep(time.Hour)
		assert.Equal(t, map[int]int{200: 10, 429: 1}, count(h, "a", 11), "it fills up to Burst")
	})
}

// A request that one limit refuses costs nothing in the others.
func TestSeveralLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := app(limiter(t, ratelimit.Config{Limits: []ratelimit.Limit{
			{Name: "user", Key: byUser, Rate: 1, Burst: 2},
			{Name: "tenant", Key: ratelimit.ByHeader("X-User"), Rate: 1, Burst: 100},
			{Name: "all", Key: ratelimit.Global, Rate: 0.001, Burst: 5},
		}}).Middleware())
		assert.Equal(t, map[int]int{200: 2, 429: 8}, count(h, "a", 10))
		assert.Equal(t, map[int]int{200: 2, 429: 8}, count(h, "b", 10), "refused requests cost nothing in the shared limit")
		assert.Equal(t, map[int]int{200: 1, 429: 9}, count(h, "c", 10))
		w := get(h, "c")
		assert.Contains(t, w.Body.String(), `The limit \"all\" is reached.`)
		assert.Equal(t, []string{`"user";q=2;w=2`, `"tenant";q=100;w=100`, `"all";q=5;w=5000`}, w.Header()["Ratelimit-Policy"])
		assert.Equal(t, []string{`"user";r=1;t=1`, `"tenant";r=99;t=1`, `"all";r=0;t=1000`}, w.Header()["Ratelimit"])
		assert.Equal(t, "0", w.Header().Get("X-Ratelimit-Remaining-Requests"), "the tightest")
		assert.Equal(t, "false", w.Header().Get("X-Should-Retry"), "not in this minute")
	})
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := ratelimit.Config{Limits: []ratelimit.Limit{{Name: "rpm", Key: byUser, Rate: ratelimit.Per(60, time.Minute), Burst: 60}}}
		h := app(limiter(t, cfg).Middleware())
		for i, want := range []string{"59", "58", "57"} {
			w := get(h, "a")
			assert.Equal(t, `"rpm";q=60;w=60`, w.Header().Get("Ratelimit-Policy"))
			assert.Equal(t, fmt.Sprintf(`"rpm";r=%s;t=%d`, want, i+1), w.Header().Get("Ratelimit"))
			assert.Equal(t, "60", w.Header().Get("X-Ratelimit-Limit-Requests"))
			assert.Equal(t, want, w.Header().Get("X-Ratelimit-Remaining-Requests"))
			assert.Equal(t, fmt.Sprintf("%ds", i+1), w.Header().Get("X-Ratelimit-Reset-Requests"))
			assert.Empty(t, w.Header().Get("Retry-After"))
		}
		both := app(limiter(t, cfg).Middleware(), limiter(t, ratelimit.Config{Key: byUser, Rate: 1}).Middleware())
		assert.Equal(t, []string{`"rpm";r=59;t=1`, `"requests";r=0;t=1`}, get(both, "a").Header()["Ratelimit"], "both limiters show their headers")
		assert.Equal(t, []string{`"rpm";r=58;t=2`, `"requests";r=0;t=1`}, get(both, "a").Header()["Ratelimit"])
		cfg.HideHeaders = true
		hidden := app(limiter(t, cfg).Middleware())
		assert.Empty(t, get(hidden, "a").Header()["Ratelimit"])
		count(hidden, "a", 59)
		w := get(hidden, "a")
		assert.Equal(t, "1", w.Header().Get("Retry-After"))
		assert.Empty(t, w.Header()["X-Ratelimit-Remaining-Requests"])
	})
}

func TestBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // its clock begins at midnight UTC, 2000-01-01
		h := app(limiter(t, ratelimit.Config{Limits: []ratelimit.Limit{
			{Name: "day", Key: byUser, Budget: 2, Period: ratelimit.Day},
			{Name: "month", Key: byUser, Budget: 5, Period: ratelimit.Month},
		}}).Middleware())
		assert.Equal(t, map[int]int{200: 2, 429: 2}, count(h, "a", 4))
		w := get(h, "a")
		assert.Equal(t, "86400", w.Header().Get("Retry-After"))
		assert.Contains(t, w.Body.String(), `"code":"insufficient_quota"`)
		assert.Equal(t, []string{`"day";q=2;w=86400`, `"month";q=5`}, w.Header()["Ratelimit-Policy"])
		assert.Equal(t, []string{`"day";r=0;t=86400`, `"month";r=3;t=2678400`}, w.Header()["Ratelimit"])
		time.Sleep(24*time.Hour - time.Second)
		assert.Equal(t, http.StatusTooManyRequests, get(h, "a").Code)
		time.Sleep(time.Second)
		assert.Equal(t, map[int]int{200: 2, 429: 1}, count(h, "a", 3), "another day")
		time.Sleep(24 * time.Hour)
		assert.Equal(t, map[int]int{200: 1, 429: 2}, count(h, "a", 3), "the month's is used up")
		time.Sleep(29 * 24 * time.Hour)
		assert.Equal(t, map[int]int{200: 2, 429: 1}, count(h, "a", 3), "another month")
	})
}

func TestKeys(t *testing.T) {
	t.Parallel()
	request := func(remote string, header http.Header) *gin.Context {
		c, _ := gin.CreateTestContext(httptest.NewRecorder())
		c.Request = httptest.NewRequest(http.MethodGet, "/", nil)
		c.Request.RemoteAddr, c.Request.Header = remote, header
		return c
	}
	two := http.Header{"X-User": {"a", "b"}}
	for name, tt := range map[string]struct {
		key  func(*gin.Context) (string, error)
		c    *gin.Context
		want string // "": an error
	}{
		"IPv4":                  {ratelimit.ByIP, request("192.0.2.1:80", nil), "192.0.2.1"},
		"IPv4 in IPv6":          {ratelimit.ByIP, request("[::ffff:192.0.2.1]:80", nil), "192.0.2.1"},
		"IPv6":                  {ratelimit.ByIP, request("[2001:db8:1:2:3::1]:80", nil), "2001:db8:1:2::/64"},
		"IPv6 with a zone":      {ratelimit.ByIP, request("[fe80::1%eth0]:80", nil), "fe80::/64"},
		"forwarded for another": {ratelimit.ByIP, request("192.0.2.1:80", http.Header{"X-Forwarded-For": {"9.9.9.9"}}), "192.0.2.1"},
		"no address":            {ratelimit.ByIP, request("nonsense", nil), ""},
		"a Unix socket":         {ratelimit.ByIP, request("@", nil), "unix"},
		"a given address": {
			ratelimit.ByAddr(func(*http.Request) (netip.Addr, error) { return netip.MustParseAddr("2001:db8::1"), nil }),
			request("", nil), "2001:db8::/64",
		},
		"no given address": {ratelimit.ByAddr(func(*http.Request) (netip.Addr, error) { return netip.Addr{}, errors.New("x") }), request("", nil), ""},
		"header":           {byUser, request("", http.Header{"X-User": {"a"}}), "a"},
		"no header":        {byUser, request("", http.Header{}), ""},
		"an empty header":  {byUser, request("", http.Header{"X-User": {""}}), ""},
		"two headers":      {byUser, request("", two), ""},
		"a long header":    {byUser, request("", http.Header{"X-User": {string(make([]byte, 513))}}), ""},
		"joined":           {ratelimit.Join(byUser, ratelimit.ByIP), request("192.0.2.1:80", http.Header{"X-User": {"a,b"}}), `a\,b,192.0.2.1`},
		"joined with none": {ratelimit.Join(byUser, ratelimit.ByIP), request("192.0.2.1:80", nil), ""},
	} {
		got, err := tt.key(tt.c)
		assert.Equal(t, tt.want, got, name)
		if tt.want == "" {
			require.ErrorIs(t, err, ratelimit.ErrNoKey, name)
		} else {
			require.NoError(t, err, name)
		}
	}
}

// A request without a key is refused; only ErrSkip skips a limit.
func TestNoKey(t *testing.T) {
	t.Parallel()
	key := func(key string, err error) func(*gin.Context) (string, error) {
		return func(*gin.Context) (string, error) { return key, err }
	}
	for name, tt := range map[string]struct {
		key  func(*gin.Context) (string, error)
		want int
	}{
		"an error":           {key("", errors.New("x")), http.StatusInternalServerError},
		"an error and a key": {key("k", errors.New("x")), http.StatusInternalServerError},
		"an apierror":        {key("", &apierror.Error{Status: 401}), http.StatusUnauthorized},
		"empty":              {key("", nil), http.StatusBadRequest},
		"skipped":            {key("", fmt.Errorf("free: %w", ratelimit.ErrSkip)), http.StatusOK},
	} {
		h := app(limiter(t, ratelimit.Config{Key: tt.key, Rate: 1, Burst: 1}).Middleware())
		for range 2 {
			assert.Equal(t, tt.want, get(h, "").Code, name)
		}
	}
	// An ErrorHandler that does not abort lets no request through.
	h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 1, ErrorHandler: func(c *gin.Context, _ error) { c.Status(http.StatusTeapot) }}).Middleware())
	w := get(h, "")
	assert.Equal(t, http.StatusTeapot, w.Code)
	assert.Empty(t, w.Body.String())
}

func TestConfig(t *testing.T) {
	t.Parallel()
	one := ratelimit.Limit{Name: "a", Key: byUser, Rate: 1}
	for want, cfg := range map[string]ratelimit.Config{
		"Config.Key is required":               {Rate: 1},
		"Config.Rate: 0 must be above 0":       {Key: byUser},
		"Config.Burst: -1":                     {Key: byUser, Rate: 1, Burst: -1},
		"both Limits and Key":                  {Key: byUser, Limits: []ratelimit.Limit{one}},
		`Limits[1].Name: "a" is taken`:         {Limits: []ratelimit.Limit{one, one}},
		`Limits[0].Name: "a b" must be`:        {Limits: []ratelimit.Limit{{Name: "a b", Key: byUser, Rate: 1}}},
		`Limits[1].Name: "" must be`:           {Limits: []ratelimit.Limit{one, {Key: byUser, Rate: 1}}},
		"Rate and Burst do not go with Budget": {Limits: []ratelimit.Limit{{Key: byUser, Rate: 1, Budget: 1, Period: ratelimit.Day}}},
		"Limits[0].Period: must be Day":        {Limits: []ratelimit.Limit{{Key: byUser, Budget: 1}}},
		"Limits[0].Budget: 0 must be above 0":  {Limits: []ratelimit.Limit{{Key: byUser, Period: ratelimit.Day}}},
		"Wait.Max and Wait.Size":               {Key: byUser, Rate: 1, Wait: ratelimit.Wait{Max: -1}},
		"Config.Rate: +Inf must be above 0":    {Key: byUser, Rate: ratelimit.Rate(1 / zero)},
		"Config.Rate: NaN must be above 0":     {Key: byUser, Rate: ratelimit.Rate(zero / zero)},
		"Limits[0].Budget: -1 must be above 0": {Limits: []ratelimit.Limit{{Key: byUser, Budget: -1, Period: ratelimit.Day}}},
		"Config.Rate: -0.5 must be above 0":    {Key: byUser, Rate: -0.5},
		"Config.Burst: 9007199254740992 mus":   {Key: byUser, Rate: 1, Burst: 1 << 53},
	} {
		_, err := ratelimit.New(cfg)
		require.ErrorContains(t, err, want)
	}
	_, err := ratelimit.New(ratelimit.Config{Burst: -1, Wait: ratelimit.Wait{Size: -1}})
	for _, want := range []string{"Key is required", "Rate: 0", "Burst: -1", "Wait.Max"} {
		require.ErrorContains(t, err, want, "all faults at once")
	}
	_, err = ratelimit.NewTokens(ratelimit.TokensConfig{Key: byUser, Rate: ratelimit.Per(1, 0)})
	require.ErrorContains(t, err, "TokensConfig.Rate: -1 must be above 0")
	assert.Panics(t, func() { ratelimit.Middleware(ratelimit.Config{}) })
	_, err = ratelimit.NewMemory(ratelimit.MemoryConfig{Keys: -1})
	require.ErrorContains(t, err, "Keys is negative")
	_, err = ratelimit.NewShared(ratelimit.SharedConfig{Replicas: -1})
	require.ErrorContains(t, err, "Store is required")
	require.ErrorContains(t, err, "Replicas is required")
	_, err = ratelimit.NewShared(ratelimit.SharedConfig{Store: newShared(t), FailureMode: 7})
	require.ErrorContains(t, err, "FailureMode: 7 is none of LocalShare")
}

var zero float64

func TestEvents(t *testing.T) {
	t.Parallel()
	seen := new(events)
	h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 1, Burst: 1, OnEvent: seen.On}).Middleware())
	count(h, "a", 3)
	assert.Len(t, seen.of(ratelimit.Allowed), 1)
	refused := seen.of(ratelimit.Refused)
	require.Len(t, refused, 2)
	assert.Equal(t, "requests", refused[0].Limit)
	assert.Equal(t, "a", refused[0].Key)
	assert.Positive(t, refused[0].Wait)
	assert.ErrorIs(t, refused[0].Err, ratelimit.ErrLimited)
}

// No more buckets are kept than configured, and a flood of keys resets none of them.
func TestFloodOfKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, err := ratelimit.NewMemory(ratelimit.MemoryConfig{Keys: 1000})
		require.NoError(t, err)
		h := app(limiter(t, ratelimit.Config{Key: byUser, Rate: 10.0 / 3600, Burst: 10, Store: m}).Middleware())
		passed := count(h, "attacker", 20)[200]
		for round := range 5 {
			for i := range 3000 {
				get(h, fmt.Sprintf("fresh-%d-%d", round, i))
			}
			passed += count(h, "attacker", 20)[200]
		}
		assert.Equal(t, 10, passed)
		assert.LessOrEqual(t, m.Len(), 1000)
		time.Sleep(2 * time.Hour)
		assert.Equal(t, 10, count(h, "newcomer", 20)[200], "full buckets are evicted")
	})
}

// Buckets that fill slowly do not block the eviction of others.
func TestSlowBucketsGetASecondChance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, err := ratelimit.NewMemory(ratelimit.MemoryConfig{Keys: 64 * 4})
		require.NoError(t, err)
		take := func(b ratelimit.Bucket) int64 {
			charges := []ratelimit.Charge{{Bucket: b, Cost: 1}}
			require.NoError(t, m.Take(context.Background(), charges))
			return charges[0].Granted
		}
		day := ratelimit.Bucket{Limit: "day", Burst: 10, Ends: time.Now().Add(24 * time.Hour)}
		for i := range 64 {
			day.Key = strconv.Itoa(i)
			take(day)
		}
		for i := range 5000 {
			time.Sleep(time.Second)
			fast := ratelimit.Bucket{Limit: "fast", Key: fmt.Sprint("f", i), Rate: 10, Burst: 1}
			assert.EqualValues(t, 1, take(fast), i)
		}
	})
}

// A flood of keys in one limit does not affect other limits.
func TestFloodOfOneLimit(t *testing.T) {
	t.Parallel()
	m, err := ratelimit.NewMemory(ratelimit.MemoryConfig{Keys: 64})
	require.NoError(t, err)
	flooded := app(limiter(t, ratelimit.Config{Limits: []ratelimit.Limit{{Name: "month", Key: byUser, Budget: 10, Period: ratelimit.Month}}, Store: m}).Middleware())
	other := app(limiter(t, ratelimit.Config{Limits: []ratelimit.Limit{{Name: "rps", Key: byUser, Rate: 0.001, Burst: 1}}, Store: m}).Middleware())
	for i := range 1000 {
		get(flooded, strconv.Itoa(i))
	}
	passed := 0
	for i := range 32 {
		passed += count(other, strconv.Itoa(i), 2)[200]
	}
	assert.Greater(t, passed, 20)
	assert.LessOrEqual(t, m.Len(), 128)
}
