package rfc9111_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/ginfer/ginfer/cache/internal/rfc9111"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var received = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func rules(change func(*rfc9111.Rules)) *rfc9111.Rules {
	r := &rfc9111.Rules{MaxTTL: 24 * time.Hour, NegativeTTL: 5 * time.Second, KeepStale: 10 * time.Minute, MaxKeep: 24 * time.Hour}
	if change != nil {
		change(r)
	}
	return r
}

// header returns a header of pairs.
func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func httpTime(before time.Duration) string { return received.Add(-before).Format(http.TimeFormat) }

func TestWhyResponsesAreNotStored(t *testing.T) {
	t.Parallel()
	const fresh = "max-age=60"
	for _, tt := range []struct {
		name   string
		rules  func(*rfc9111.Rules)
		res    rfc9111.Response
		reason string
	}{
		{name: "fresh", res: rfc9111.Response{Header: header("Cache-Control", fresh)}},
		{name: "no lifetime", res: rfc9111.Response{Header: header()}, reason: "no-freshness"},
		{name: "public without a lifetime", res: rfc9111.Response{Header: header("Cache-Control", "public")}, reason: "no-freshness"},
		{name: "public with a validator", res: rfc9111.Response{Header: header("Cache-Control", "public", "ETag", `"a"`)}},
		{name: "no-store", res: rfc9111.Response{Header: header("Cache-Control", fresh+", no-store")}, reason: "no-store"},
		{name: "no-store, but understood", res: rfc9111.Response{Header: header("Cache-Control", fresh+", no-store, must-understand")}},
		{name: "private", res: rfc9111.Response{Header: header("Cache-Control", fresh+", private")}, reason: "private"},
		{name: "a cookie", res: rfc9111.Response{Header: header("Cache-Control", fresh), SetCookie: true}, reason: "set-cookie"},
		{name: "a cookie that is stripped", rules: func(r *rfc9111.Rules) { r.StripCookies = true }, res: rfc9111.Response{Header: header("Cache-Control", fresh), SetCookie: true}},
		{name: "credentials", res: rfc9111.Response{Header: header("Cache-Control", fresh), Authorized: true}, reason: "authorization"},
		{name: "credentials and public", res: rfc9111.Response{Header: header("Cache-Control", fresh+", public"), Authorized: true}},
		{name: "credentials and s-maxage", res: rfc9111.Response{Header: header("Cache-Control", "s-maxage=60"), Authorized: true}},
		{name: "credentials and must-revalidate", res: rfc9111.Response{Header: header("Cache-Control", fresh+", must-revalidate"), Authorized: true}},
		{name: "Vary: *", res: rfc9111.Response{Header: header("Cache-Control", fresh, "Vary", "Accept, *")}, reason: "vary"},
		{name: "Vary by too many", res: rfc9111.Response{Header: header("Cache-Control", fresh, "Vary", "A,B,C,D,E,F,G,H,I,J,K,L,M,N,O,P,Q")}, reason: "vary"},
		{name: "206", res: rfc9111.Response{Status: 206, Header: header("Cache-Control", fresh)}, reason: "status"},
		{name: "304", res: rfc9111.Response{Status: 304, Header: header("Cache-Control", fresh)}, reason: "status"},
		{name: "429", res: rfc9111.Response{Status: 429, Header: header("Cache-Control", fresh)}, reason: "status"},
		{name: "416", res: rfc9111.Response{Status: 416, Header: header("Cache-Control", fresh)}, reason: "status"},
		{name: "428", res: rfc9111.Response{Status: 428, Header: header("Cache-Control", fresh)}, reason: "status"},
		{name: "431", res: rfc9111.Response{Status: 431, Header: header("Cache-Control", fresh)}, reason: "status"},
		{name: "511", res: rfc9111.Response{Status: 511, Header: header("Cache-Control", fresh)}, reason: "status"},
		{name: "103", res: rfc9111.Response{Status: 103, Header: header("Cache-Control", fresh)}, reason: "status"},
		{name: "500 with a lifetime", res: rfc9111.Response{Status: 500, Header: header("Cache-Control", fresh)}},
		{name: "503 with Expires", res: rfc9111.Response{Status: 503, Header: header("Expires", httpTime(-time.Hour))}},
		{name: "500 without a lifetime", res: rfc9111.Response{Status: 500, Header: header("Last-Modified", httpTime(time.Hour))}, rules: func(r *rfc9111.Rules) { r.Heuristic = 1 }, reason: "no-freshness"},
		{name: "501 may be estimated", res: rfc9111.Response{Status: 501, Header: header("Last-Modified", httpTime(time.Hour))}, rules: func(r *rfc9111.Rules) { r.Heuristic = 1 }},
		{name: "599 with a lifetime", res: rfc9111.Response{Status: 599, Header: header("Cache-Control", fresh)}},
		{name: "599, public, may be estimated", res: rfc9111.Response{Status: 599, Header: header("Cache-Control", "public", "Last-Modified", httpTime(time.Hour))}, rules: func(r *rfc9111.Rules) { r.Heuristic = 1; r.KeepStale = 0 }},
		{name: "599 must be understood", res: rfc9111.Response{Status: 599, Header: header("Cache-Control", fresh+", must-understand")}, reason: "status"},
		{name: "599 must be understood, or not stored", res: rfc9111.Response{Status: 599, Header: header("Cache-Control", fresh+", must-understand, no-store")}, reason: "status"},
		{name: "201 with a lifetime", res: rfc9111.Response{Status: 201, Header: header("Cache-Control", fresh)}},
		{name: "302 without a lifetime", res: rfc9111.Response{Status: 302, Header: header("Last-Modified", httpTime(time.Hour))}, rules: func(r *rfc9111.Rules) { r.Heuristic = 1 }, reason: "no-freshness"},
		{name: "302 with a lifetime", res: rfc9111.Response{Status: 302, Header: header("Cache-Control", fresh)}},
		{name: "404", res: rfc9111.Response{Status: 404, Header: header()}},
		{name: "404, negative TTL off", rules: func(r *rfc9111.Rules) { r.NegativeTTL = 0 }, res: rfc9111.Response{Status: 404, Header: header()}, reason: "no-freshness"},
		{name: "400", res: rfc9111.Response{Status: 400, Header: header()}, reason: "no-freshness"},
		{name: "400, public", res: rfc9111.Response{Status: 400, Header: header("Cache-Control", "public")}},
		{name: "stale already", res: rfc9111.Response{Header: header("Cache-Control", fresh, "Age", "61")}, reason: "stale"},
		{name: "stale, with a validator", res: rfc9111.Response{Header: header("Cache-Control", fresh, "Age", "61", "ETag", `"a"`)}},
		{name: "no-cache", res: rfc9111.Response{Header: header("Cache-Control", "no-cache, max-age=60")}, reason: "stale"},
		{name: "no-cache, with a validator", res: rfc9111.Response{Header: header("Cache-Control", "no-cache", "ETag", `"a"`)}},
		{name: "heuristic off", res: rfc9111.Response{Header: header("Last-Modified", httpTime(time.Hour))}, reason: "no-freshness"},
		{name: "heuristic with a query", rules: func(r *rfc9111.Rules) { r.Heuristic = 0.1 }, res: rfc9111.Response{Header: header("Last-Modified", httpTime(time.Hour)), Query: true}, reason: "no-freshness"},
	} {
		res := tt.res
		if res.Status == 0 {
			res.Status = http.StatusOK
		}
		res.RequestTime, res.Received = received, received
		_, reason := rules(tt.rules).Assess(&res)
		assert.Equal(t, tt.reason, reason, tt.name)
	}
}

func TestFreshnessLifetime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		rules  func(*rfc9111.Rules)
		header http.Header
		status int
		fresh  time.Duration // from now
	}{
		{name: "max-age", header: header("Cache-Control", "max-age=60"), fresh: time.Minute},
		{name: "s-maxage precedes max-age", header: header("Cache-Control", "max-age=60, s-maxage=30"), fresh: 30 * time.Second},
		{name: "max-age precedes Expires", header: header("Cache-Control", "max-age=60", "Expires", httpTime(-time.Hour)), fresh: time.Minute},
		{name: "Expires", header: header("Expires", httpTime(-time.Hour)), fresh: time.Hour},
		{name: "Expires in the form of RFC 850", header: header("Expires", received.Add(time.Hour).Format("Monday, 02-Jan-06 15:04:05 GMT")), fresh: time.Hour},
		{name: "Expires in the form of asctime", header: header("Expires", received.Add(time.Hour).Format(time.ANSIC)), fresh: time.Hour},
		{name: "Expires in another zone", header: header("Expires", received.Add(time.Hour).Format(time.RFC1123), "ETag", `"a"`), fresh: 0},
		{name: "Expires far in the future", header: header("Expires", "Sun, 21 Nov 2286 04:46:39 GMT"), fresh: 24 * time.Hour},
		{name: "Age that is no number is ignored", header: header("Cache-Control", "max-age=60", "Age", "7200.0"), fresh: time.Minute},
		{name: "a negative Age is ignored", header: header("Cache-Control", "max-age=60", "Age", "-7200"), fresh: time.Minute},
		{name: "the first of several Ages", header: header("Cache-Control", "max-age=60", "Age", "10, 7200"), fresh: 50 * time.Second},
		{name: "Age beyond 31 bits", header: header("Cache-Control", "max-age=60, stale-if-error=1", "Age", "2147483649"), fresh: time.Minute - rfc9111.Max},
		{name: "Date that is none", header: header("Cache-Control", "max-age=60", "Date", "yesterday"), fresh: time.Minute},
		{name: "Expires relative to Date", header: header("Expires", httpTime(-time.Hour), "Date", httpTime(-time.Minute)), fresh: 59 * time.Minute},
		{name: "invalid Expires", header: header("Expires", "0", "ETag", `"a"`), fresh: 0},
		{name: "two Expires", header: header("Expires", httpTime(-time.Hour), "Expires", httpTime(-time.Hour)), fresh: 0},
		{name: "Age", header: header("Cache-Control", "max-age=60", "Age", "10"), fresh: 50 * time.Second},
		{name: "Date", header: header("Cache-Control", "max-age=60", "Date", httpTime(20*time.Second)), fresh: 40 * time.Second},
		{name: "the older of Age and Date", header: header("Cache-Control", "max-age=60", "Age", "30", "Date", httpTime(20*time.Second)), fresh: 30 * time.Second},
		{name: "bounded", rules: func(r *rfc9111.Rules) { r.MaxTTL = time.Second }, header: header("Cache-Control", "max-age=60"), fresh: time.Second},
		{name: "heuristic", rules: func(r *rfc9111.Rules) { r.Heuristic = 0.1 }, header: header("Last-Modified", httpTime(time.Hour)), fresh: 6 * time.Minute},
		{name: "heuristic, bounded by a day", rules: func(r *rfc9111.Rules) { r.Heuristic, r.MaxTTL = 1, 1000*time.Hour }, header: header("Last-Modified", httpTime(500*time.Hour)), fresh: 24 * time.Hour},
		{name: "modified in the future", rules: func(r *rfc9111.Rules) { r.Heuristic = 0.1 }, header: header("Last-Modified", httpTime(-time.Hour)), fresh: 0},
		{name: "negative", status: http.StatusGone, header: header(), fresh: 5 * time.Second},
	} {
		res := rfc9111.Response{Status: max(tt.status, 200), Header: tt.header, RequestTime: received, Received: received}
		life, _ := rules(tt.rules).Assess(&res)
		assert.Equal(t, tt.fresh, life.FreshUntil.Sub(received), tt.name)
	}
}

// The time that the request took counts as age.
func TestAgeIncludesTheRequest(t *testing.T) {
	t.Parallel()
	res := rfc9111.Response{Status: 200, Header: header("Cache-Control", "max-age=60", "Age", "10"), RequestTime: received.Add(-5 * time.Second), Received: received}
	life, reason := rules(nil).Assess(&res)
	require.Empty(t, reason)
	require.Equal(t, received.Add(-15*time.Second), life.ResponseTime)
	require.Equal(t, received.Add(45*time.Second), life.FreshUntil)
}

func TestExtensionsAndExpiry(t *testing.T) {
	t.Parallel()
	const minute = time.Minute
	withDefaults := func(r *rfc9111.Rules) { r.StaleWhileRevalidate, r.StaleIfError = 2*minute, 3*minute }
	for _, tt := range []struct {
		name     string
		rules    func(*rfc9111.Rules)
		header   http.Header
		swr, sie time.Duration
		kept     time.Duration // after it is stale
	}{
		{name: "none", header: header("Cache-Control", "max-age=60")},
		{name: "directives", header: header("Cache-Control", "max-age=60, stale-while-revalidate=60, stale-if-error=120"), swr: minute, sie: 2 * minute, kept: 2 * minute},
		{name: "defaults", rules: withDefaults, header: header("Cache-Control", "max-age=60"), swr: 2 * minute, sie: 3 * minute, kept: 3 * minute},
		{name: "directives precede defaults", rules: withDefaults, header: header("Cache-Control", "max-age=60, stale-if-error=0"), swr: 2 * minute, kept: 2 * minute},
		{name: "must-revalidate", rules: withDefaults, header: header("Cache-Control", "max-age=60, must-revalidate")},
		{name: "s-maxage", rules: withDefaults, header: header("Cache-Control", "s-maxage=60")},
		{name: "a validator", header: header("Cache-Control", "max-age=60", "Last-Modified", httpTime(minute)), kept: 10 * minute},
		{name: "too long", header: header("Cache-Control", "max-age=60, stale-if-error=999999"), sie: 24 * time.Hour, kept: 24*time.Hour - minute},
	} {
		res := rfc9111.Response{Status: 200, Header: tt.header, RequestTime: received, Received: received}
		life, reason := rules(tt.rules).Assess(&res)
		assert.Empty(t, reason, tt.name)
		assert.Equal(t, tt.swr, life.StaleWhileRevalidate, tt.name)
		assert.Equal(t, tt.sie, life.StaleIfError, tt.name)
		assert.Equal(t, tt.kept, life.ExpiresAt.Sub(life.FreshUntil), tt.name)
	}
}

func TestReuse(t *testing.T) {
	t.Parallel()
	fresh := rfc9111.Lifetime{ResponseTime: received, FreshUntil: received.Add(time.Minute), StaleWhileRevalidate: 10 * time.Second}
	validate, mustRevalidate := fresh, fresh
	validate.Validate, mustRevalidate.MustRevalidate = true, true
	for _, tt := range []struct {
		name    string
		life    rfc9111.Lifetime
		control string
		after   time.Duration
		want    rfc9111.Reuse
	}{
		{"fresh", fresh, "", 59 * time.Second, rfc9111.Fresh},
		{"stale during a refresh", fresh, "", time.Minute, rfc9111.StaleWhileRevalidate},
		{"too stale", fresh, "", 70 * time.Second, rfc9111.MustValidate},
		{"no-cache in the request", fresh, "no-cache", 0, rfc9111.MustValidate},
		{"no-cache in the response", validate, "max-stale", 0, rfc9111.MustValidate},
		{"young enough", fresh, "max-age=30", 30 * time.Second, rfc9111.Fresh},
		{"too old", fresh, "max-age=30", 31 * time.Second, rfc9111.MustValidate},
		{"fresh for long enough", fresh, "min-fresh=10", 50 * time.Second, rfc9111.Fresh},
		{"not fresh for long enough", fresh, "min-fresh=10", 51 * time.Second, rfc9111.MustValidate},
		{"min-fresh excludes stale", fresh, "min-fresh=0", 61 * time.Second, rfc9111.MustValidate},
		{"stale is allowed", fresh, "max-stale=60", 2 * time.Minute, rfc9111.AllowedStale},
		{"not as stale as that", fresh, "max-stale=60", 2*time.Minute + 1, rfc9111.MustValidate},
		{"any stale is allowed", fresh, "max-stale", time.Hour, rfc9111.AllowedStale},
		{"must-revalidate, fresh", mustRevalidate, "", 59 * time.Second, rfc9111.Fresh},
		{"must-revalidate, stale", mustRevalidate, "max-stale", 61 * time.Second, rfc9111.MustValidate},
	} {
		c := rfc9111.ParseControl([]string{tt.control})
		assert.Equal(t, tt.want, tt.life.Reuse(&c, received.Add(tt.after)), tt.name)
	}
}

// Whatever a response says, it is not fresh for longer than MaxTTL, nor kept for longer
// than MaxKeep.
func FuzzAssess(f *testing.F) {
	f.Add("max-age=60, stale-if-error=99999999", "5", httpTime(time.Hour), httpTime(0), 200)
	f.Add("public", "-1", "yesterday", httpTime(-time.Hour), 404)
	f.Fuzz(func(t *testing.T, control, age, modified, date string, status int) {
		r := rules(func(r *rfc9111.Rules) { r.Heuristic = 0.5 })
		res := rfc9111.Response{Status: status, Header: header("Cache-Control", control, "Age", age, "Last-Modified", modified, "Date", date), RequestTime: received, Received: received}
		life, reason := r.Assess(&res)
		require.LessOrEqual(t, life.FreshUntil.Sub(received), r.MaxTTL)
		require.LessOrEqual(t, life.ExpiresAt.Sub(received), r.MaxKeep)
		require.False(t, life.ResponseTime.After(received))
		if reason == "" {
			require.True(t, life.ExpiresAt.After(received), fmt.Sprint(life))
		}
	})
}
