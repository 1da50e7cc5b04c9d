package proxy_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// outbound returns the request that p sends upstream for req.
func outbound(t *testing.T, cfg proxy.Config, req *http.Request, before ...gin.HandlerFunc) *http.Request {
	t.Helper()
	var sent *http.Request
	cfg.Transport = transport(func(req *http.Request) (*http.Response, error) {
		sent = req
		return newResponse(200, ""), nil
	})
	serve(newProxy(t, cfg), req, before...)
	require.NotNil(t, sent)
	return sent
}

func TestRequestHeaders(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   http.Header
		want http.Header // a nil value: absent
	}{
		"end to end": {
			http.Header{"Authorization": {"Bearer x"}, "X-A": {"1", "2"}, "Accept-Encoding": {"br"}},
			http.Header{"Authorization": {"Bearer x"}, "X-A": {"1", "2"}, "Accept-Encoding": {"br"}},
		},
		"hop by hop": {
			http.Header{
				"Connection": {"keep-alive"}, "Keep-Alive": {"timeout=5"}, "Proxy-Connection": {"x"}, "Proxy-Authorization": {"x"},
				"Te": {"gzip"}, "Trailer": {"X"}, "Transfer-Encoding": {"chunked"}, "Upgrade": {"h2c"}, "Http2-Settings": {"x"}, "Proxy-Authenticate": {"x"},
			},
			http.Header{
				"Connection": nil, "Keep-Alive": nil, "Proxy-Connection": nil, "Proxy-Authorization": nil,
				"Te": nil, "Trailer": nil, "Transfer-Encoding": nil, "Upgrade": nil, "Http2-Settings": nil, "Proxy-Authenticate": nil,
			},
		},
		"named in Connection": {
			http.Header{"Connection": {"x-One , X-Two", "X-Three,,"}, "X-One": {"1"}, "X-Two": {"2"}, "X-Three": {"3"}, "X-Four": {"4"}},
			http.Header{"X-One": nil, "X-Two": nil, "X-Three": nil, "X-Four": {"4"}, "Connection": nil},
		},
		"the gateway's own stay though Connection names them": {
			http.Header{"Connection": {"X-Forwarded-For, Via, Forwarded"}},
			http.Header{"X-Forwarded-For": {"192.0.2.1"}, "Via": {"1.1 gw"}, "Forwarded": {`for=192.0.2.1;host="example.com";proto=http`}},
		},
		"TE: trailers":          {http.Header{"Connection": {"TE"}, "Te": {"gzip, Trailers"}}, http.Header{"Te": {"trailers"}}},
		"underscores":           {http.Header{"X_user_id": {"root"}, "X-User-Id": {"me"}}, http.Header{"X_user_id": nil, "X-User-Id": {"me"}}},
		"own to this hop":       {http.Header{"Expect": {"100-continue"}, "Content-Length": {"7"}}, http.Header{"Expect": nil, "Content-Length": nil}},
		"user agent as it is":   {http.Header{"User-Agent": {"me/1"}}, http.Header{"User-Agent": {"me/1"}}},
		"via of others is kept": {http.Header{"Via": {"1.0 fred, 1.1 p.example.net", "2 c"}}, http.Header{"Via": {"1.0 fred, 1.1 p.example.net, 2 c, 1.1 gw"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := request(t, http.MethodGet, nil)
			req.Header = c.in
			out := outbound(t, proxy.Config{Via: "gw"}, req)
			for k, v := range c.want {
				require.Equal(t, v, out.Header[k], k)
			}
		})
	}
}

// TestIdentitySurvivesConnection covers the class of CVE-2024-45410: a client can't remove what
// Rewrite sets by listing it in Connection, nor duplicate it.
func TestIdentitySurvivesConnection(t *testing.T) {
	t.Parallel()
	req := request(t, http.MethodGet, nil)
	req.Header = http.Header{"Connection": {"X-User-Id"}, "X-User-Id": {"root"}, "X_user_id": {"root"}}
	cfg := proxy.Config{Rewrite: func(c *gin.Context, out *http.Request) { out.Header.Set("X-User-Id", c.GetString("user")) }}
	out := outbound(t, cfg, req, func(c *gin.Context) { c.Set("user", "me") })
	require.Equal(t, []string{"me"}, out.Header["X-User-Id"])
	require.NotContains(t, out.Header, "X_user_id")
	require.Equal(t, []string{"root"}, req.Header["X-User-Id"], "the inbound request is unchanged")
}

func TestUnderscoresWhenAllowed(t *testing.T) {
	t.Parallel()
	req := request(t, http.MethodGet, nil)
	req.Header = http.Header{"X_a": {"1"}}
	require.Equal(t, "1", outbound(t, proxy.Config{AllowUnderscores: true}, req).Header.Get("X_a"))
}

func TestForwarding(t *testing.T) {
	t.Parallel()
	claims := http.Header{
		"X-Forwarded-For": {"6.6.6.6", "7.7.7.7"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Port": {"1"},
		"Forwarded": {"for=6.6.6.6"}, "X-Real-Ip": {"6.6.6.6"}, "True-Client-Ip": {"6.6.6.6"}, "Client-Ip": {"6.6.6.6"}, "X-Client-Ip": {"6.6.6.6"}, "X-Cluster-Client-Ip": {"6.6.6.6"},
	}
	replaced := func(peer, element, proto string) http.Header {
		return http.Header{
			"X-Forwarded-For": {peer}, "X-Forwarded-Host": {"example.com"}, "X-Forwarded-Proto": {proto}, "X-Forwarded-Port": nil,
			"Forwarded": {"for=" + element + `;host="example.com";proto=` + proto},
			"X-Real-Ip": nil, "True-Client-Ip": nil, "Client-Ip": nil, "X-Client-Ip": nil, "X-Cluster-Client-Ip": nil,
		}
	}
	kept := http.Header{
		"X-Forwarded-For": {"6.6.6.6, 7.7.7.7, 10.0.0.7"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Port": {"1"},
		"Forwarded": {`for=6.6.6.6, for=10.0.0.7;host="example.com";proto=http`}, "X-Real-Ip": {"6.6.6.6"},
	}
	mapped := kept.Clone()
	mapped["X-Forwarded-For"] = []string{"6.6.6.6, 7.7.7.7, ::ffff:10.0.0.7"}
	mapped["Forwarded"] = []string{`for=6.6.6.6, for="[::ffff:10.0.0.7]";host="example.com";proto=http`}
	for name, c := range map[string]struct {
		peer string
		tls  bool
		want http.Header
	}{
		"a stranger":        {"192.0.2.9:1", false, replaced("192.0.2.9", "192.0.2.9", "http")},
		"over TLS":          {"192.0.2.9:1", true, replaced("192.0.2.9", "192.0.2.9", "https")},
		"IPv6":              {"[2001:db8::1]:1", false, replaced("2001:db8::1", `"[2001:db8::1]"`, "http")},
		"a Unix socket":     {"@", false, replaced("", "unknown", "http")},
		"a trusted proxy":   {"10.0.0.7:1", false, kept},
		"trusted, mapped":   {"[::ffff:10.0.0.7]:1", false, mapped},
		"outside the range": {"11.0.0.7:1", false, replaced("11.0.0.7", "11.0.0.7", "http")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := request(t, http.MethodGet, nil)
			req.Header, req.RemoteAddr = claims.Clone(), c.peer
			if c.tls {
				req.TLS = &tls.ConnectionState{}
			}
			out := outbound(t, proxy.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, req)
			for k, v := range c.want {
				if len(v) == 1 && v[0] == "" {
					v = nil // not sent
				}
				require.Equal(t, v, out.Header[k], k)
			}
		})
	}
}

// TestForwardedQuotes: a Host with quotes can't add an element of its own.
func TestForwardedQuotes(t *testing.T) {
	t.Parallel()
	req := request(t, http.MethodGet, nil)
	req.Host = `a";for=6.6.6.6;x="\`
	require.Equal(t, `for=192.0.2.1;host="a\";for=6.6.6.6;x=\"\\";proto=http`, outbound(t, proxy.Config{Target: parse(t, "http://up.example")}, req).Header.Get("Forwarded"))
}

// TestHopsBesideClose: net/http's server must keep the names in Connection even if the
// connection is to be closed.
func TestHopsBesideClose(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 1)
	r := setup{upstream: func(_ http.ResponseWriter, req *http.Request) { seen <- req.Header }}.start(t)
	conn, _ := r.dial(t)
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-User-Id\r\nX-User-Id: root\r\nX-A: 1\r\n\r\n")
	require.NoError(t, err)
	got := receive(t, seen)
	require.NotContains(t, got, "X-User-Id")
	require.NotContains(t, got, "Connection")
	require.Equal(t, "1", got.Get("X-A"))
}

// TestNothingInvented: the request has what the client sent and what the gateway must add; the
// transport adds no User-Agent and no Accept-Encoding.
func TestNothingInvented(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 1)
	r := setup{upstream: func(_ http.ResponseWriter, req *http.Request) { seen <- req.Header }}.start(t)
	conn, in := r.dial(t)
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	require.NoError(t, err)
	_, err = in.ReadString('\n')
	require.NoError(t, err)
	var names []string
	for name := range receive(t, seen) {
		names = append(names, name)
	}
	require.ElementsMatch(t, []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "Via"}, names)
}

func TestTarget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ target, in, host, uri string }{
		{"http://up:1", "/a/b?x=1", "up:1", "/a/b?x=1"},
		{"http://up:1/", "/a/b", "up:1", "/a/b"},
		{"https://up/base", "/a", "up", "/base/a"},
		{"https://up/base/", "/a/", "up", "/base/a/"},
		{"http://up/b%2Fc", "/a%2Fb", "up", "/b%2Fc/a%2Fb"},
		{"http://up", "/a%2Fb/%C3%A9", "up", "/a%2Fb/%C3%A9"},
		{"http://up", "/a?b=;c&&%zz=1&q=a+b%20c", "up", "/a?b=;c&&%zz=1&q=a+b%20c"},
		{"http://up", "/a?", "up", "/a?"},
		{"http://up", "//a//b", "up", "//a//b"},
		{"", "/a?x", "example.com", "/a?x"},
		{"", "http://elsewhere/a", "elsewhere", "/a"},
	} {
		t.Run(c.target+" "+c.in, func(t *testing.T) {
			t.Parallel()
			cfg := proxy.Config{}
			if c.target != "" {
				cfg.Target = parse(t, c.target)
			}
			out := outbound(t, cfg, httptest.NewRequestWithContext(t.Context(), http.MethodGet, c.in, nil))
			require.Equal(t, c.uri, out.URL.RequestURI())
			if c.target == "" {
				require.Equal(t, c.host, out.Host, "the client's Host")
				require.Empty(t, out.URL.Host, "the address is the transport's choice")
				return
			}
			require.Equal(t, c.host, out.URL.Host)
			require.Empty(t, out.Host)
		})
	}
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, path string
		header       http.Header
		status       int
		code         string
	}{
		"connect":             {http.MethodConnect, "/", nil, 405, "method_not_allowed"},
		"trace":               {http.MethodTrace, "/", nil, 405, "method_not_allowed"},
		"loop":                {http.MethodGet, "/", http.Header{"Via": {"1.1 other, 1.1 GW (ginfer)"}}, 508, "loop_detected"},
		"loop in a later one": {http.MethodGet, "/", http.Header{"Via": {"1.1 other", "2.0 gw"}}, 508, "loop_detected"},
		"dot segment":         {http.MethodGet, "/a/%2e%2e/b", nil, 400, "bad_path"},
		"backslash":           {http.MethodGet, "/a%5Cb", nil, 400, "bad_path"},
		"NUL":                 {http.MethodGet, "/a%00b", nil, 400, "bad_path"},
		"space in the query":  {http.MethodGet, "/a?q=a b", nil, 400, "bad_request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ev := newEvents()
			p := newProxy(t, proxy.Config{Via: "gw", OnEvent: ev.on, Transport: transport(func(*http.Request) (*http.Response, error) {
				assert.Fail(t, "reached the upstream")
				return newResponse(200, ""), nil
			})})
			req := request(t, http.MethodGet, nil)
			req.Method, req.URL, req.Header = c.method, parse(t, c.path), c.header
			w := serve(p, req)
			require.Equal(t, c.status, w.Code)
			require.Contains(t, w.Body.String(), `"code":"`+c.code+`"`)
			got := ev.next(t)
			require.Equal(t, proxy.Refused, got.Outcome, "no upstream is to blame")
			require.Zero(t, got.Attempt)
			require.Empty(t, ev.attempts())
		})
	}
}

// TestRefusedMethods: HTTP/2 lets clients send any.
func TestRefusedMethods(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GE T", "G\u00c9T", "G@T", "GET /\r\nX: y"} {
		ev := newEvents()
		p := newProxy(t, proxy.Config{OnEvent: ev.on, Transport: transport(func(*http.Request) (*http.Response, error) {
			assert.Fail(t, "reached the upstream")
			return newResponse(200, ""), nil
		})})
		e := gin.New()
		e.NoRoute(p.Handler())
		req := request(t, http.MethodGet, nil)
		req.Method = method
		w := httptest.NewRecorder()
		e.ServeHTTP(w, req)
		require.Equal(t, 400, w.Code)
		require.Contains(t, w.Body.String(), `"code":"bad_request"`)
		require.Equal(t, proxy.Refused, ev.next(t).Outcome)
	}
}

// TestLoop sends a gateway's requests back to itself.
func TestLoop(t *testing.T) {
	t.Parallel()
	gw := httptest.NewUnstartedServer(nil)
	p := newProxy(t, proxy.Config{Transport: newTransport(t, false), Target: parse(t, "http://"+gw.Listener.Addr().String())})
	gw.Config.Handler = engine(p)
	gw.Start()
	t.Cleanup(gw.Close)
	r := &rig{Server: gw, client: newClient(t, gw)}
	a := r.get(t)
	require.Equal(t, 508, a.status)
	require.Contains(t, a.body, "loop_detected")
}

// TestDefaultVia: two gateways in a row do not detect a loop.
func TestDefaultVia(t *testing.T) {
	t.Parallel()
	back := setup{upstream: func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get("Via")) }}.start(t)
	front := setup{config: proxy.Config{Target: parse(t, back.URL)}}.start(t)
	a := front.get(t)
	require.Equal(t, 200, a.status)
	require.Regexp(t, `^1\.1 ginfer-[0-9a-f]{8}, 1\.1 ginfer-[0-9a-f]{8}$`, a.body)
}

func TestResponseHeaders(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		head string
		want http.Header
	}{
		"end to end": {"X-A: 1\r\nX-A: 2\r\nETag: \"x\"\r\nServer: up\r\nContent-Type: text/x", http.Header{
			"X-A": {"1", "2"}, "Etag": {`"x"`}, "Server": {"up"}, "Content-Type": {"text/x"},
		}},
		"hop by hop": {"Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nProxy-Connection: x", http.Header{
			"Connection": nil, "X-Hop": nil, "Keep-Alive": nil, "Proxy-Authenticate": nil, "Upgrade": nil, "Proxy-Connection": nil,
		}},
		"named in Connection twice":      {"Connection: X-Hop\r\nConnection: X-Hop2\r\nX-Hop: 1\r\nX-Hop2: 1", http.Header{"X-Hop": nil, "X-Hop2": nil}},
		"over what a middleware set":     {"X-Set: up", http.Header{"X-Set": {"up"}, "X-Mine": {"gw"}}},
		"lists are joined":               {"Vary: Accept\r\nSet-Cookie: b=2", http.Header{"Vary": {"Origin", "Accept"}, "Set-Cookie": {"a=1", "b=2"}}},
		"a middleware's list can't go":   {"Connection: Vary, Set-Cookie", http.Header{"Vary": {"Origin"}, "Set-Cookie": {"a=1"}}},
		"a limit's own figures stand":    {"X-RateLimit-Remaining-Tokens: 7\r\nRateLimit: \"up\";r=7", http.Header{"X-Ratelimit-Remaining-Tokens": {"5"}, "Ratelimit": {"gw"}}},
		"and no part comes from others":  {"X-RateLimit-Reset-Tokens: 7s", http.Header{"X-Ratelimit-Reset-Tokens": nil}},
		"of other limits they pass":      {"X-RateLimit-Remaining-Requests: 7\r\nAnthropic-RateLimit-Tokens-Remaining: 7", http.Header{"X-Ratelimit-Remaining-Requests": {"7"}, "Anthropic-Ratelimit-Tokens-Remaining": {"7"}}},
		"a limit's can't go":             {"Connection: X-RateLimit-Remaining-Tokens, RateLimit-Reset\r\nRateLimit-Reset: 7", http.Header{"X-Ratelimit-Remaining-Tokens": {"5"}, "Ratelimit-Reset": nil}},
		"no content type is not guessed": {"X-A: 1", http.Header{"Content-Type": nil}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup{raw: writes("HTTP/1.1 200 OK\r\n" + c.head + "\r\nContent-Length: 2\r\n\r\nok"), before: []gin.HandlerFunc{func(c *gin.Context) {
				c.Header("X-Set", "gw")
				c.Header("X-Mine", "gw")
				c.Header("Vary", "Origin")
				c.Header("Set-Cookie", "a=1")
				c.Header("RateLimit", "gw")
				c.Header("X-RateLimit-Remaining-Tokens", "5")
				c.Writer.Header()["X-Ratelimit-Reset-Tokens"] = nil // a budget that never fills
			}}}.start(t)
			a := r.get(t)
			require.Equal(t, "ok", a.body)
			for k, v := range c.want {
				require.Equal(t, v, a.header[k], k)
			}
		})
	}
}

// TestTrailers: they pass both ways, announced or not, on either protocol.
func TestTrailers(t *testing.T) {
	t.Parallel()
	echo := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Announced")
		_, _ = io.Copy(w, r.Body)
		w.Header().Set("X-Announced", "1")
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
		w.Header().Set(http.TrailerPrefix+"X-From-Client", r.Trailer.Get("X-Sum"))
		w.Header().Set(http.TrailerPrefix+"Set-Cookie", "evil=1")
	}
	for protocol, h2 := range protocols() {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			for name, c := range map[string]struct {
				h2c     bool
				maxBody int64
			}{"held": {}, "streamed": {maxBody: -1}, "held, HTTP/2": {h2c: true}, "streamed, HTTP/2": {h2c: true, maxBody: -1}} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					r := setup{upstream: echo, h2: h2, h2c: c.h2c, config: proxy.Config{MaxBody: c.maxBody}}.start(t)
					req := r.request(t, http.MethodPost, "/", io.MultiReader(strings.NewReader("some"), strings.NewReader("thing")))
					req.Trailer = http.Header{"X-Sum": {"abc"}}
					a := r.do(t, req)
					require.NoError(t, a.err)
					require.Equal(t, "something", a.body)
					require.Equal(t, http.Header{"X-Announced": {"1"}, "X-Late": {"2"}, "X-From-Client": {"abc"}}, a.trailer)
				})
			}
		})
	}
}

// TestEarlyHints: a 103 reaches the client at once, and headers set by middlewares are neither
// sent with it nor lost (golang/go#81207).
func TestEarlyHints(t *testing.T) {
	t.Parallel()
	for protocol, h2 := range protocols() {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			s := setup{h2: h2, before: []gin.HandlerFunc{func(c *gin.Context) { c.Header("X-Set-Before", "1") }}}
			s.upstream = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Link", "</a.css>")
				w.WriteHeader(http.StatusProcessing)
				w.WriteHeader(http.StatusEarlyHints)
				<-release
				w.Header().Set("Link", "</b.css>")
				_, _ = io.WriteString(w, "ok")
			}
			r := s.start(t)
			var hints []string
			trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				hints = append(hints, fmt.Sprint(code, h["Link"], h["X-Set-Before"]))
				if code == http.StatusEarlyHints {
					close(release) // reached only if the hint is not delayed
				}
				return nil
			}}
			req := r.request(t, http.MethodGet, "/", http.NoBody)
			a := r.do(t, req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
			require.Equal(t, []string{"102 [</a.css>] []", "103 [</a.css>] []"}, hints)
			require.Equal(t, "ok", a.body)
			require.Equal(t, "1", a.header.Get("X-Set-Before"))
			require.Equal(t, []string{"</b.css>"}, a.header["Link"])
		})
	}
}

// TestNoEarlyHintsForHTTP10: that protocol has no 1xx (RFC 9110 §15.2).
func TestNoEarlyHintsForHTTP10(t *testing.T) {
	t.Parallel()
	r := setup{raw: writes("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")}.start(t)
	conn, in := r.dial(t)
	_, err := io.WriteString(conn, "GET / HTTP/1.0\r\nHost: a\r\n\r\n")
	require.NoError(t, err)
	got, err := io.ReadAll(in)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(got), "HTTP/1.0 200 OK\r\n"), string(got))
	require.True(t, strings.HasSuffix(string(got), "\r\n\r\nok"), string(got))
}

// TestLateEarlyHints: a 1xx that arrives after the attempt has failed must not use the writer,
// to which the error is being written.
func TestLateEarlyHints(t *testing.T) {
	t.Parallel()
	var late func()
	tr := transport(func(req *http.Request) (*http.Response, error) {
		trace := httptrace.ContextClientTrace(req.Context())
		late = func() { _ = trace.Got1xxResponse(http.StatusEarlyHints, textproto.MIMEHeader{"Link": {"<a>"}}) }
		return nil, errDial
	})
	p := newProxy(t, proxy.Config{Transport: tr, Retry: proxy.Retry{Attempts: 1}, ErrorHandler: func(c *gin.Context, err error) {
		late()
		apierror.Abort(c, err)
	}})
	w := serve(p, request(t, http.MethodGet, nil))
	require.Equal(t, 502, w.Code)
	require.NotContains(t, w.Header(), "Link")
}

// TestHost: an upstream at a Target gets its own name; behind a balancer, the client's.
func TestHost(t *testing.T) {
	t.Parallel()
	host := func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }
	r := setup{upstream: host}.start(t)
	req := r.request(t, http.MethodGet, "/", http.NoBody)
	req.Host = "client.example"
	require.Equal(t, r.target.Host, r.do(t, req).body)

	inner, address := newTransport(t, false), r.target.Host
	p := newProxy(t, proxy.Config{Transport: transport(func(req *http.Request) (*http.Response, error) {
		req = req.Clone(req.Context())
		req.URL.Host = address
		return inner.RoundTrip(req)
	})})
	gw := setup{}.startGateway(t, p)
	r = &rig{Server: gw, client: newClient(t, gw)}
	req = r.request(t, http.MethodGet, "/", http.NoBody)
	req.Host = "client.example"
	require.Equal(t, "client.example", r.do(t, req).body)
}

// TestAbsoluteForm: a gateway is no open proxy; the address in the request line is ignored.
func TestAbsoluteForm(t *testing.T) {
	t.Parallel()
	r := setup{upstream: func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RequestURI) }}.start(t)
	conn, in := r.dial(t)
	_, err := io.WriteString(conn, "GET http://127.0.0.1:1/x HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n")
	require.NoError(t, err)
	require.Equal(t, "/x", readResponse(t, in))
}

// readResponse reads one whole response from a raw connection and returns its body.
func readResponse(tb testing.TB, in *bufio.Reader) string {
	tb.Helper()
	res, err := http.ReadResponse(in, nil)
	require.NoError(tb, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(tb, err)
	return string(body)
}

// Control characters in a path pass, encoded as they came.
func TestControlCharactersInPaths(t *testing.T) {
	t.Parallel()
	r := setup{upstream: func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RequestURI) }}.start(t)
	conn, in := r.dial(t)
	for _, target := range []string{"/a%09b", "/a%0Ab", "/a%0d%0aSet-Cookie:x", "/%1F%7f?q=%0a"} {
		_, err := io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: a\r\n\r\n")
		require.NoError(t, err)
		require.Equal(t, target, readResponse(t, in))
	}
}

// A trusted proxy on a Unix socket has no address of its own to add.
func TestForwardingOverATrustedSocket(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trusted       bool
		peer          string
		claims, wants []string
	}{
		"trusted":                  {true, "@", []string{"198.51.100.1"}, []string{"198.51.100.1"}},
		"trusted, several":         {true, "@", []string{"198.51.100.1", "10.0.0.1"}, []string{"198.51.100.1, 10.0.0.1"}},
		"trusted, a named socket":  {true, "/run/nginx.sock", []string{"198.51.100.1"}, []string{"198.51.100.1"}},
		"trusted, nothing said":    {true, "@", nil, nil},
		"not trusted":              {false, "@", []string{"198.51.100.1"}, nil},
		"trusted, another peer":    {true, "192.0.2.1:80", []string{"198.51.100.1"}, []string{"192.0.2.1"}},
		"trusted, no peer at all":  {true, "", []string{"198.51.100.1"}, nil},
		"trusted, a peer's garble": {true, "nonsense", []string{"198.51.100.1"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := request(t, http.MethodGet, nil)
			req.RemoteAddr = c.peer
			if c.claims != nil {
				req.Header["X-Forwarded-For"] = c.claims
			}
			out := outbound(t, proxy.Config{TrustUnix: c.trusted}, req)
			require.Equal(t, c.wants, out.Header["X-Forwarded-For"])
		})
	}
}
