package proxy_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/require"
)

// TestEveryEventAtOnce: the upstream sends the next event only when the client has the last
// one, so that a byte held back anywhere stops the test.
func TestEveryEventAtOnce(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]http.Header{
		"event stream":                     {"Content-Type": {"text/event-stream"}},
		"lines of unknown length":          {"Content-Type": {"application/x-ndjson"}},
		"lines of known length":            {"Content-Type": {"text/plain"}, "Content-Length": {"90"}},
		"an event stream of known length":  {"Content-Type": {"Text/Event-Stream; charset=utf-8"}, "Content-Length": {"90"}},
		"an event stream, HTTP/2 upstream": {"Content-Type": {"text/event-stream"}, "X-H2c": {"1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for protocol, h2 := range protocols() {
				t.Run(protocol, func(t *testing.T) {
					t.Parallel()
					next := make(chan struct{})
					s := setup{h2: h2, h2c: head.Get("X-H2c") != "", upstream: func(w http.ResponseWriter, _ *http.Request) {
						maps.Copy(w.Header(), head)
						for i := range 10 {
							_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
							_ = http.NewResponseController(w).Flush()
							<-next
						}
					}}
					r := s.start(t)
					res, err := r.client.Do(r.request(t, http.MethodPost, "/", strings.NewReader("{}")))
					require.NoError(t, err)
					defer func() { _ = res.Body.Close() }()
					for i := range 10 {
						buf := make([]byte, 9)
						_, err = io.ReadFull(res.Body, buf)
						require.NoError(t, err)
						require.Equal(t, fmt.Sprintf("data: %d\n\n", i), string(buf))
						next <- struct{}{}
					}
					rest, err := io.ReadAll(res.Body)
					require.NoError(t, err)
					require.Empty(t, rest)
				})
			}
		})
	}
}

// TestHeadOfASilentStream: the client receives the head before the first byte of the body.
func TestHeadOfASilentStream(t *testing.T) {
	t.Parallel()
	for protocol, h2 := range protocols() {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			speak := make(chan struct{})
			r := setup{h2: h2, upstream: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				_ = http.NewResponseController(w).Flush()
				<-speak
			}}.start(t)
			res, err := r.client.Do(r.request(t, http.MethodGet, "/", http.NoBody))
			close(speak)
			require.NoError(t, err)
			require.Equal(t, "no", res.Header.Get("X-Accel-Buffering"), "nginx in front must not collect events")
			require.NoError(t, res.Body.Close())
		})
	}
}

// TestResponsesWithoutBody: no body may be invented, and the connection stays usable.
func TestResponsesWithoutBody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, raw string
		status      int
		length      int64
		kind        []string
	}{
		"HEAD with length":    {http.MethodHead, "HTTP/1.1 200 OK\r\nContent-Length: 42\r\nContent-Type: text/x\r\n\r\n", 200, 42, []string{"text/x"}},
		"HEAD without length": {http.MethodHead, "HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nTransfer-Encoding: chunked\r\n\r\n", 200, -1, []string{"text/x"}},
		"HEAD of events":      {http.MethodHead, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", 200, -1, []string{"text/event-stream"}},
		"204":                 {http.MethodGet, "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n", 204, 0, nil},
		"204 with a length":   {http.MethodGet, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, 0, nil},
		"304 with length":     {http.MethodGet, "HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\nETag: \"a\"\r\n\r\n", 304, 0, nil},
		"empty 200":           {http.MethodGet, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, 0, nil},
		"empty chunked 200":   {http.MethodPost, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, 0, nil},
		"empty 404":           {http.MethodGet, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, 0, nil},
		"empty 500":           {http.MethodGet, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 500, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup{raw: writes(c.raw)}.start(t)
			for range 2 {
				a := r.do(t, r.request(t, c.method, "/", http.NoBody))
				require.NoError(t, a.err)
				require.Equal(t, c.status, a.status)
				require.Empty(t, a.body)
				require.Equal(t, c.length, a.length)
				require.Equal(t, c.kind, a.header["Content-Type"])
			}
		})
	}
}

// TestEmptyNotFoundFromNoRoute: gin would put its own Content-Type and text on an upstream's
// empty 404.
func TestEmptyNotFoundFromNoRoute(t *testing.T) {
	t.Parallel()
	tr := transport(func(*http.Request) (*http.Response, error) {
		res := newResponse(http.StatusNotFound, "")
		res.Header.Set("Content-Type", "application/json")
		return res, nil
	})
	e := gin.New()
	e.NoRoute(newProxy(t, proxy.Config{Transport: tr}).Handler())
	w := httptest.NewRecorder()
	e.ServeHTTP(w, request(t, http.MethodGet, nil))
	require.Equal(t, 404, w.Code)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.Empty(t, w.Body.String())
}

// TestBodiesAreEqual in both directions, of every size and framing.
func TestBodiesAreEqual(t *testing.T) {
	t.Parallel()
	echo := func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		if r.Header.Get("X-Known") != "" {
			w.Header().Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
		}
		_, _ = io.Copy(w, r.Body)
	}
	for protocol, h2 := range protocols() {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			for _, h2c := range []bool{false, true} {
				r := setup{upstream: echo, h2: h2, h2c: h2c}.start(t)
				for _, size := range []int{1, 32 << 10, 100 << 10, 5 << 20} {
					for _, known := range []bool{true, false} {
						t.Run(fmt.Sprintf("%d bytes, known %v, h2c %v", size, known, h2c), func(t *testing.T) {
							t.Parallel()
							sendAndCompare(t, r, pattern(size), known)
						})
					}
				}
			}
		})
	}
}

func sendAndCompare(t *testing.T, r *rig, body string, known bool) {
	t.Helper()
	var in io.Reader = strings.NewReader(body)
	if !known {
		in = io.MultiReader(in) // hides the length
	}
	req := r.request(t, http.MethodPost, "/", in)
	if known {
		req.Header.Set("X-Known", "1")
	}
	a := r.do(t, req)
	require.NoError(t, a.err)
	require.Equal(t, 200, a.status)
	require.Len(t, a.body, len(body))
	require.Equal(t, sha256.Sum256([]byte(body)), sha256.Sum256([]byte(a.body)))
	if known {
		require.EqualValues(t, len(body), a.length)
	}
}

// TestContentEncodingIsNotTouched: bodies are not decompressed, and the gateway requests no
// compression.
func TestContentEncodingIsNotTouched(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write([]byte(pattern(10_000)))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	accepted := make(chan string, 2)
	r := setup{upstream: func(w http.ResponseWriter, r *http.Request) {
		accepted <- r.Header.Get("Accept-Encoding")
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Length", strconv.Itoa(packed.Len()))
		_, _ = w.Write(packed.Bytes())
	}}.start(t)
	req := r.request(t, http.MethodGet, "/", http.NoBody)
	req.Header.Set("Accept-Encoding", "gzip;q=0.5")
	a := r.do(t, req)
	require.Equal(t, "gzip;q=0.5", <-accepted)
	require.Equal(t, "gzip", a.header.Get("Content-Encoding"))
	require.Equal(t, packed.String(), a.body)
	require.EqualValues(t, packed.Len(), a.length)
	require.Equal(t, packed.String(), r.get(t).body)
	require.Empty(t, <-accepted)
}

// TestBadResponses: invalid HTTP never reaches the client; it gets a 502.
func TestBadResponses(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"nothing":               "",
		"not HTTP":              "SSH-2.0-OpenSSH_9\r\n\r\n",
		"cut head":              "HTTP/1.1 200 OK\r\nX-A: 1\r\n",
		"status below 100":      "HTTP/1.1 099 X\r\n\r\n",
		"two lengths":           "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
		"negative length":       "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nabc",
		"unknown coding":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"endless head":          "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("x", 300<<10) + "\r\n\r\n",
		"101 without a request": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for protocol, h2 := range protocols() {
				t.Run(protocol, func(t *testing.T) {
					t.Parallel()
					r := setup{raw: writes(raw), h2: h2, config: proxy.Config{Retry: proxy.Retry{Attempts: 1}}}.start(t)
					a := r.get(t)
					require.NoError(t, a.err)
					require.Equal(t, 502, a.status)
					require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
					require.Contains(t, a.body, `"code":"upstream_error"`)
					require.NotContains(t, a.header, "X-A")
					ev := r.events.next(t)
					require.Equal(t, proxy.Failure, ev.Outcome)
					require.ErrorIs(t, ev.Err, proxy.ErrUpstream)
				})
			}
		})
	}
}

// TestErrorsAreRelayed: an upstream's own error goes to the client.
func TestErrorsAreRelayed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 401, 404, 418, 429, 500, 501, 599} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			r := setup{upstream: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				_, _ = io.WriteString(w, `{"error":"mine"}`)
			}}.start(t)
			a := r.get(t)
			require.Equal(t, status, a.status)
			require.Equal(t, "application/json", a.header.Get("Content-Type"))
			require.JSONEq(t, `{"error":"mine"}`, a.body)
		})
	}
}
