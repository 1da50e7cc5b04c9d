package routing_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gin-gonic/gin"
	bodies "github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func countSwaps(n *int) func(context.Context, routing.Event) {
	return func(_ context.Context, e routing.Event) {
		if e.Kind == routing.Swapped {
			*n++
		}
	}
}

const exampleTable = `{"routes": [
	{"model": "demo", "version": "v1.3", "conditions": {"headers": {"beta-user": "true"}}},
	{"model": "demo", "version": "v1.2", "weight": 90},
	{"model": "demo", "version": "v1.3", "weight": 10, "fallback": ["v1.2"]}]}`

func TestConditions(t *testing.T) {
	t.Parallel()
	const other = `{"version":"b"}]}`
	tests := []struct {
		name, conditions string
		request          *http.Request
		met              bool
	}{
		{"header", `{"headers":{"beta-user":"true"}}`, routetest.Post("", "Beta-User", "true"), true},
		{"header differs", `{"headers":{"beta-user":"true"}}`, routetest.Post("", "Beta-User", "TRUE"), false},
		{"header absent", `{"headers":{"beta-user":"*"}}`, routetest.Post(""), false},
		{"header present", `{"headers":{"beta-user":"*"}}`, routetest.Post("", "Beta-User", "x"), true},
		{"header's second value", `{"headers":{"beta-user":"true"}}`, routetest.Post("", "Beta-User", "x", "Beta-User", "true"), true},
		{"all of them", `{"headers":{"a":"1","b":"2"}}`, routetest.Post("", "a", "1"), false},
		{"host", `{"headers":{"host":"example.com"}}`, routetest.Post(""), true},
		{"other host", `{"headers":{"Host":"example.org"}}`, routetest.Post(""), false},
		{"path", `{"path":"/v1/chat/completions"}`, routetest.Post(""), true},
		{"path's beginning", `{"path":"/v1/*"}`, routetest.Post(""), true},
		{"other path", `{"path":"/v2/*"}`, routetest.Post(""), false},
		{"double slashes", `{"path":"/v1/x"}`, httptest.NewRequest(http.MethodGet, "//v1///x", nil), true},
		{"escaped path", `{"path":"/v1/x"}`, httptest.NewRequest(http.MethodGet, "/v1/%78", nil), true},
		{"method", `{"methods":["GET","POST"]}`, routetest.Post(""), true},
		{"other method", `{"methods":["GET"]}`, routetest.Post(""), false},
		{"cookie", `{"cookies":{"lab":"on"}}`, routetest.Post("", "Cookie", "x=y; lab=on"), true},
		{"other cookie", `{"cookies":{"lab":"on"}}`, routetest.Post("", "Cookie", "lab=off"), false},
		{"tags", `{"tags":["staff","eu"]}`, withTags(routetest.Post(""), "eu", "x", "staff"), true},
		{"one tag of two", `{"tags":["staff","eu"]}`, withTags(routetest.Post(""), "eu"), false},
		{"tags are not headers", `{"tags":["staff"]}`, routetest.Post("", "Tags", "staff"), false},
		{"device", `{"devices":["mobile","tablet"]}`, routetest.Post("", "Sec-CH-UA-Mobile", "?1"), true},
		{"other device", `{"devices":["mobile"]}`, routetest.Post("", "User-Agent", "curl/8"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := routetest.New(t, routing.Config{Table: routetest.Table(t, `{"routes":[{"version":"a","conditions":`+tt.conditions+`},`+other), Upstreams: routetest.Upstreams("a", "b"), Tags: tagsOf})
			d, _ := decide(r, tt.request)
			assert.Equal(t, map[bool]string{true: "a", false: "b"}[tt.met], d.Version)
		})
	}
}

func TestDevice(t *testing.T) {
	t.Parallel()
	tests := map[string][2]string{ // header value → device
		"iPhone":          {"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Mobile/15E148 Safari/604", "mobile"},
		"Android phone":   {"Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537 Chrome/130 Mobile Safari/537", "mobile"},
		"Android tablet":  {"Mozilla/5.0 (Linux; Android 15; SM-X900) AppleWebKit/537 Chrome/130 Safari/537", "tablet"},
		"iPad":            {"Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X) AppleWebKit/605", "tablet"},
		"Windows":         {"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537 Chrome/130", "desktop"},
		"Mac":             {"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Safari/605", "desktop"},
		"crawler":         {"Mozilla/5.0 (compatible; Googlebot/2.1; Linux)", "other"},
		"SDK":             {"OpenAI/Go 3.9", "other"},
		"none":            {"", "other"},
		"unknown browser": {"Mozilla/5.0 (PlayStation)", "other"},
	}
	for name, tt := range tests {
		assert.Equal(t, tt[1], routing.Device(http.Header{"User-Agent": {tt[0]}}), name)
	}
	hints := func(kv ...string) http.Header {
		h := http.Header{"User-Agent": {tests["Windows"][0]}}
		for i := 0; i < len(kv); i += 2 {
			h.Set(kv[i], kv[i+1])
		}
		return h
	}
	assert.Equal(t, "mobile", routing.Device(hints("Sec-CH-UA-Mobile", "?1")), "hints count more than User-Agent")
	assert.Equal(t, "desktop", routing.Device(hints("Sec-CH-UA-Mobile", "?0", "Sec-CH-UA-Platform", `"macOS"`)))
	assert.Equal(t, "tablet", routing.Device(hints("Sec-CH-UA-Mobile", "?0", "Sec-CH-UA-Platform", `"Android"`)))
	assert.Equal(t, "tablet", routing.Device(hints("Sec-CH-UA-Form-Factors", `"Tablet"`, "Sec-CH-UA-Mobile", "?1")))
	assert.Equal(t, "other", routing.Device(hints("Sec-CH-UA-Form-Factors", `"XR"`)))
	assert.Equal(t, "desktop", routing.Device(hints("Sec-CH-UA-Form-Factors", `"Desktop"`)))
	assert.Equal(t, "mobile", routing.Device(hints("Sec-CH-UA-Form-Factors", `"Mobile", "EInk"`)))
}

func TestOrder(t *testing.T) {
	t.Parallel()
	r := routetest.New(t, routing.Config{Table: routetest.Table(t, `{"routes":[
		{"model":"special","version":"s"},
		{"version":"rest"},
		{"version":"a","weight":1,"conditions":{"headers":{"x":"1"}}},
		{"version":"b","weight":0,"conditions":{"headers":{"x":"1"}}},
		{"version":"first","conditions":{"headers":{"y":"1"}}},
		{"version":"second","conditions":{"headers":{"y":"1"}}}]}`), Upstreams: routetest.Upstreams("rest", "a", "b", "first", "second", "s")})
	for want, req := range map[string]*http.Request{
		"rest":  routetest.Post(`{"model":"m"}`),
		"s":     routetest.Post(`{"model":"special"}`),
		"a":     routetest.Post(`{"model":"m"}`, "x", "1"),
		"first": routetest.Post(`{"model":"m"}`, "x", "1", "y", "1"),
	} {
		d, w := decide(r, req)
		assert.Equal(t, want, d.Version)
		assert.Equal(t, want, w.Header().Get("X-Model-Version"))
		assert.Empty(t, w.Header().Get("Set-Cookie"), "with a single candidate the user is irrelevant")
	}
}

// A route with a weight and conditions takes only requests that meet them.
func TestConditionedWeight(t *testing.T) {
	t.Parallel()
	r := routetest.New(t, routing.Config{StickyHeader: "X-User-Id", Table: routetest.Table(t, `{"routes":[
		{"version":"v1.2","weight":90,"conditions":{"headers":{"beta-user":"true"}}},{"version":"v1.3","weight":10}]}`), Upstreams: routetest.Upstreams("v1.2", "v1.3")})
	counts := map[string]int{}
	for i := range 2000 {
		d, _ := decide(r, routetest.Post("", "X-User-Id", strconv.Itoa(i)))
		assert.Equal(t, "v1.3", d.Version)
		d, _ = decide(r, routetest.Post("", "X-User-Id", strconv.Itoa(i), "beta-user", "true"))
		counts[d.Version]++
	}
	assert.InDelta(t, 1800, counts["v1.2"], 60)
}

func TestModels(t *testing.T) {
	t.Parallel()
	r := routetest.New(t, routing.Config{Table: routetest.Table(t, `{"routes":[{"model":"demo","version":"a"},{"model":"gpt-*","version":"b"}]}`), Upstreams: routetest.Upstreams("a", "b")})
	tests := []struct {
		name, body, contentType string
		version                 string
		status                  int
		code                    string
	}{
		{"exact", `{"model":"demo"}`, "application/json", "a", 200, ""},
		{"prefix", `{"x":[{"model":"no"}],"model":"gpt-5"}`, "application/json", "b", 200, ""},
		{"escaped", `{"mod\u0065l":"d\u0065mo"}`, "application/json", "a", 200, ""},
		{"unknown", `{"model":"demo2"}`, "application/json", "", 404, "model_not_found"},
		{"none", `{}`, "application/json", "", 404, "no_route"},
		{"empty body", ``, "application/json", "", 404, "no_route"},
		{"twice", `{"model":"demo","model":"gpt-5"}`, "application/json", "", 400, "duplicate_model"},
		{"twice by escape", `{"model":"demo","\u006dodel":"gpt-5"}`, "application/json", "", 400, "duplicate_model"},
		{"another case", `{"model":"demo","Model":"gpt-5"}`, "application/json", "", 400, "duplicate_model"},
		{"only another case", `{"MODEL":"gpt-5"}`, "application/json", "", 400, "duplicate_model"},
		{"not a string", `{"model":["demo"]}`, "application/json", "", 400, "invalid_model"},
		{"not JSON", `model=demo`, "application/json", "", 400, "invalid_json"},
		{"JSON by another name", `{"model":"demo"}`, "text/plain", "a", 200, ""},
		{"JSON suffix", `{"model":"demo"}`, "application/vnd.x+json; charset=utf-8", "a", 200, ""},
		{"a mark before", "\ufeff{\"model\":\"demo\"}", "text/plain", "", 400, "invalid_json"},
		{"UTF-16", "\xff\xfe{\x00}\x00", "text/plain", "", 400, "invalid_json"},
		{"more after", `{"model":"demo"} x`, "text/plain", "", 400, "invalid_json"},
		{"bad escape in a name", `{"model":"demo","mode\l":"gpt-5"}`, "application/json", "", 400, "duplicate_model"},
		{"a form", `model=demo`, "application/x-www-form-urlencoded", "a", 200, ""},
		{"a form of files", "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-5\r\n--x--\r\n", "multipart/form-data; boundary=x", "b", 200, ""},
		{"a form cut off", "--x\r\nContent-Dis", "multipart/form-data; boundary=x", "", 400, "bad_body"},
		{"too large", `{"model":"demo","x":"` + strings.Repeat("x", 100) + `"}`, "application/json", "", 413, "request_too_large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req := routetest.Post(tt.body)
			req.Header.Set("Content-Type", tt.contentType)
			ctx, end := bodies.With(req.Context(), bodies.New(bodies.Config{Limit: 100}))
			defer end()
			d, w := decide(r, req.WithContext(ctx))
			assert.Equal(t, tt.version, d.Version)
			assert.Equal(t, tt.status, w.Code)
			if tt.code != "" {
				assert.Contains(t, w.Body.String(), `"code":"`+tt.code+`"`)
			}
		})
	}
}

func TestBadPath(t *testing.T) {
	t.Parallel()
	r := routetest.New(t, routing.Config{Table: routetest.Table(t, `{"routes":[{"version":"a"}]}`), Upstreams: routetest.Upstreams("a")})
	for _, path := range []string{"/a/../b", "/a/%2e%2e/b", "/a/..;/b", `/a\b`, "/a%0ab"} {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		require.NoError(t, setPath(req, path))
		_, w := decide(r, req)
		assert.Equal(t, http.StatusBadRequest, w.Code, path)
	}
}

func setPath(r *http.Request, path string) (err error) {
	r.URL, err = r.URL.Parse("http://x")
	if err == nil {
		r.URL.Path = strings.NewReplacer("%2e", ".", "%0a", "\n").Replace(path)
	}
	return err
}

// 10,000 users at 90/10 are split within 1 %, and each keeps its version.
func TestSticky(t *testing.T) {
	t.Parallel()
	r := routetest.New(t, routing.Config{Table: routetest.Table(t, exampleTable), Upstreams: routetest.Upstreams("v1.2", "v1.3"), StickyHeader: "X-User-Id"})
	counts := map[string]int{}
	for i := range 10_000 {
		d, _ := decide(r, routetest.Post(`{"model":"demo"}`, "X-User-Id", fmt.Sprintf("user-%d", i)))
		again, _ := decide(r, routetest.Post(`{"model":"demo"}`, "X-User-Id", fmt.Sprintf("user-%d", i)))
		require.Equal(t, d.Version, again.Version)
		counts[d.Version]++
		if i < 100 {
			beta, _ := decide(r, routetest.Post(`{"model":"demo"}`, "X-User-Id", fmt.Sprintf("user-%d", i), "beta-user", "true"))
			require.Equal(t, "v1.3", beta.Version)
		}
	}
	assert.InDelta(t, 1000, counts["v1.3"], 100)
}

// The user is identified by header, then identity, then cookie. The same text in two of
// them means two users.
func TestStickyKey(t *testing.T) {
	t.Parallel()
	type subjectKey struct{}
	r := routetest.New(t, routing.Config{
		Table: routetest.Table(t, `{"routes":[{"version":"a","weight":1},{"version":"b","weight":1}]}`), Upstreams: routetest.Upstreams("a", "b"), StickyHeader: "X-User-Id",
		Subject: func(ctx context.Context) (string, bool) { s, ok := ctx.Value(subjectKey{}).(string); return s, ok },
	})
	as := func(req *http.Request, subject string) *http.Request {
		return req.WithContext(context.WithValue(req.Context(), subjectKey{}, subject))
	}
	differs := 0
	for i := range 200 {
		name := strconv.Itoa(i)
		byHeader, w := decide(r, as(routetest.Post("", "X-User-Id", name), "a user"))
		assert.Empty(t, w.Header().Get("Set-Cookie"))
		bySubject, w := decide(r, as(routetest.Post(""), name))
		assert.Empty(t, w.Header().Get("Set-Cookie"))
		if byHeader.Version != bySubject.Version {
			differs++
		}
		anonymous, w := decide(r, routetest.Post(""))
		cookie := w.Result().Cookies()[0]
		assert.True(t, cookie.HttpOnly)
		assert.Equal(t, "ginfer_id", cookie.Name)
		again, w := decide(r, routetest.Post("", "Cookie", cookie.Name+"="+cookie.Value))
		assert.Equal(t, anonymous.Version, again.Version)
		assert.Empty(t, w.Header().Get("Set-Cookie"))
	}
	assert.InDelta(t, 100, differs, 40)
	_, w := decide(r, routetest.Post("", "Cookie", "ginfer_id=forged!"))
	assert.NotEmpty(t, w.Header().Get("Set-Cookie"), "a cookie of another form is replaced")
	off := routetest.New(t, routing.Config{Cookie: "-", VersionHeader: "-", Table: r.Table(), Upstreams: routetest.Upstreams("a", "b")})
	first, w := decide(off, routetest.Post(""))
	assert.Empty(t, w.Header())
	second, _ := decide(off, routetest.Post(""))
	assert.Equal(t, first.Version, second.Version)
}

// Salt and model reshuffle the users; a weight moves only as many as it must.
func TestRamp(t *testing.T) {
	t.Parallel()
	versions := func(salt, model string, canary int) map[string]string {
		tab := routetest.Table(t, fmt.Sprintf(`{"salt":%q,"routes":[{"model":%q,"version":"a","weight":%d},{"model":%q,"version":"b","weight":%d}]}`, salt, model, 100-canary, model, canary))
		r := routetest.New(t, routing.Config{Table: tab, Upstreams: routetest.Upstreams("a", "b"), StickyHeader: "u"})
		out := map[string]string{}
		for i := range 1000 {
			d, _ := decide(r, routetest.Post(fmt.Sprintf(`{"model":%q}`, model), "u", strconv.Itoa(i)))
			out[strconv.Itoa(i)] = d.Version
		}
		return out
	}
	moved := func(a, b map[string]string) (out, in int) {
		for user := range a {
			switch {
			case a[user] == "b" && b[user] == "a":
				out++
			case a[user] == "a" && b[user] == "b":
				in++
			}
		}
		return out, in
	}
	last := versions("s", "m", 1)
	for _, w := range []int{5, 20, 50, 100} {
		next := versions("s", "m", w)
		out, in := moved(last, next)
		assert.Zero(t, out, "no user leaves the canary while it grows")
		assert.Positive(t, in)
		last = next
	}
	out, _ := moved(versions("s", "m", 50), versions("t", "m", 50))
	assert.Positive(t, out)
	out, _ = moved(versions("s", "m", 50), versions("s", "n", 50))
	assert.Positive(t, out)
}

// During a hundred swaps under load every request has a decision of one of the tables.
func TestSwapUnderLoad(t *testing.T) {
	t.Parallel()
	tables := []routing.Table{routetest.Table(t, exampleTable), routetest.Table(t, `{"routes":[{"model":"demo","version":"v1.2","weight":50},{"model":"demo","version":"v1.3","weight":50}]}`)}
	r := routetest.New(t, routing.Config{Table: tables[0], Upstreams: routetest.Upstreams("v1.2", "v1.3"), StickyHeader: "X-User-Id"})
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				d, w := decide(r, routetest.Post(`{"model":"demo"}`, "X-User-Id", fmt.Sprint(i, n%50)))
				if w.Code != http.StatusOK || d.Version == "" {
					t.Errorf("lost: %d", w.Code)
					return
				}
			}
		})
	}
	for i := range 100 {
		require.NoError(t, r.SetTable(tables[(i+1)%2]))
	}
	close(done)
	wg.Wait()
}

func BenchmarkDecide(b *testing.B) {
	r := routetest.New(b, routing.Config{Table: routetest.Table(b, exampleTable), Upstreams: routetest.Upstreams("v1.2", "v1.3"), StickyHeader: "X-User-Id"})
	h := r.Middleware()
	req := routetest.Post(`{"model":"demo","messages":[{"role":"user","content":"`+strings.Repeat("word ", 200)+`"}]}`, "X-User-Id", "alice")
	c, _ := gin.CreateTestContext(httptest.NewRecorder())
	b.ReportAllocs()
	for b.Loop() {
		c.Request = req
		h(c)
	}
}
