package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/proxy"
	"github.com/stretchr/testify/assert"
)

// hostileCaller is a caller for which the endpoint fails each request. It serves others.
type hostileCaller struct {
	name     string
	upstream http.HandlerFunc
	path     func(i int) string // nil: the same path as others
}

func hostileCallers() []hostileCaller {
	responds := func(status int, after string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if after != "" {
				w.Header().Set("Retry-After", after)
			}
			w.WriteHeader(status)
		}
	}
	broken := func(events ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if len(events) > 0 {
				eventHandler(events...)(w, r)
			}
			panic(http.ErrAbortHandler)
		}
	}
	return []hostileCaller{
		{name: "500", upstream: responds(500, "")},
		{name: "500 on a path of its own", upstream: responds(500, ""), path: func(int) string { return "/v1/mine" }},
		{name: "500 on other paths", upstream: responds(500, ""), path: func(i int) string { return "/v1/mine/" + strconv.Itoa(i) + "x" }},
		{name: "429 with Retry-After", upstream: responds(429, "30")},
		{name: "503 with Retry-After", upstream: responds(503, "30")},
		{name: "cut before the head", upstream: broken()},
		{name: "cut after content", upstream: broken(roleEvent, tokenEvent)},
		{name: "an event of the server's own", upstream: eventHandler("data: {\"error\":{\"message\":\"dead\",\"type\":\"server_error\",\"code\":\"internal_error\"}}\n\n")},
		{name: "a response that begins too late", upstream: func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}},
	}
}

// The failures of one caller do not open the circuit while others succeed, on the same paths
// or on others.
func TestTenants(t *testing.T) {
	t.Parallel()
	for _, h := range hostileCallers() {
		for _, proto := range []string{"h1", "h2"} {
			for _, retry := range []bool{true, false} {
				variant := proto + map[bool]string{true: " on", false: " off"}[retry]
				t.Run(h.name+"/"+variant, func(t *testing.T) {
					t.Parallel()
					expectNone(t, h.problems(t, proto, retry))
				})
			}
		}
	}
}

// tenantsLoad is how long the load of a case lasts.
const tenantsLoad = 2 * time.Second

func (h *hostileCaller) problems(t *testing.T, proto string, retry bool) (problems []string) {
	t.Helper()
	g := chainSetup{
		urls: []string{blameUpstream(t, h.upstream, nil).URL}, retry: retry,
		timeouts: proxy.Timeouts{FirstByte: time.Second},
	}.start(t)
	if early := g.goodRequestProblems(t.Context(), proto); early != nil {
		return early
	}
	hostile := loadOf(t.Context(), 50, tenantsLoad, func(i int) int {
		path := ""
		if h.path != nil {
			path = h.path(i)
		}
		return g.sendOnce(t, proto, rawRequest{path: path, caller: "hostile"}, streamBody)
	})
	others := loadOf(t.Context(), 20, tenantsLoad, func(i int) int { return g.sendGood(t, proto, "caller-"+strconv.Itoa(i%3)) })
	hostile()
	all := others()
	statuses := map[int]int{}
	for _, s := range all {
		statuses[s.status]++
	}
	if statuses[http.StatusOK] != len(all) {
		problems = append(problems, fmt.Sprintf("the statuses of %d good requests of others: %v", len(all), statuses))
	}
	problems = append(problems, g.awaitIdle()...)
	for _, c := range g.circuits.Status() {
		if c.State != breaker.Closed {
			problems = append(problems, "the circuit is "+c.State.String())
		}
	}
	if n := len(g.circuits.Status()); n > 1 {
		problems = append(problems, fmt.Sprintf("%d circuits for one endpoint", n))
	}
	return append(problems, g.goodRequestProblems(t.Context(), proto)...)
}

// sendOnce sends a request on a new connection and reads the response.
func (g *chain) sendOnce(t *testing.T, proto string, a rawRequest, body string) int {
	t.Helper()
	w, err := newWire(t.Context(), g.addr(), proto)
	if err != nil {
		return 0
	}
	defer func() { _ = w.Close() }()
	status := w.post(a, body)
	if status != 0 {
		_, _ = w.readBody()
	}
	return status
}

func (g *chain) sendGood(t *testing.T, proto, caller string) int {
	t.Helper()
	return g.sendOnce(t, proto, rawRequest{caller: caller, fields: [][2]string{{"x-good", "1"}}}, goodBody)
}

// An endpoint that fails for every caller gets an open circuit.
func TestTenantsThatFailTogether(t *testing.T) {
	t.Parallel()
	for name, callers := range map[string]int{"one alone": 1, "two": 2, "many": 20} {
		for _, proto := range []string{"h1", "h2"} {
			t.Run(name+"/"+proto, func(t *testing.T) {
				t.Parallel()
				up := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
				g := chainSetup{urls: []string{up.URL}}.start(t)
				for i := range blameRepeats {
					g.sendOnce(t, proto, rawRequest{caller: "caller-" + strconv.Itoa(i%callers)}, goodBody)
				}
				var problems []string
				if assert.Empty(new(discardT), g.blamed()) {
					problems = append(problems, "the circuit is closed")
				}
				expectNone(t, append(problems, g.awaitIdle()...))
			})
		}
	}
}
