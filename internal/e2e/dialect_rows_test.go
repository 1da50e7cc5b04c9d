package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/ginfer/ginfer/internal/testkit/faulty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// situations are the names of those of each test, to find what is listed and does not exist.
var situations sync.Map

// scenario runs the check of one situation, which may be listed as known to fail.
func scenario(t *testing.T, name string, check func(t *testing.T, v *findings)) {
	t.Helper()
	full := t.Name() + "/" + strings.ReplaceAll(name, " ", "_")
	all, begun := situations.LoadOrStore(t.Name(), new(sync.Map))
	if !begun {
		t.Cleanup(func() { checkListed(t) })
	}
	all.(*sync.Map).Store(full, true) //nolint:forcetypeassert // nothing else is stored
	known := knownRows()[full]
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		judged(t, known, func(v *findings) { check(t, v) })
	})
}

// checkListed finds what is listed of a test and is none of its situations.
func checkListed(t *testing.T) {
	t.Helper()
	all, _ := situations.LoadAndDelete(t.Name())
	for name := range knownRows() {
		if strings.HasPrefix(name, t.Name()+"/") {
			_, exists := all.(*sync.Map).Load(name) //nolint:forcetypeassert // nothing else is stored
			assert.True(t, exists, "%q is listed, and does not exist", name)
		}
	}
}

// seenRequest is a request as an upstream got it.
type seenRequest struct {
	header http.Header
	path   string
	body   string
}

// scripted is an upstream that looks at what it is asked.
type scripted struct {
	*httptest.Server

	mu   sync.Mutex
	seen []seenRequest
}

// startScripted starts one. Serve writes its responses; it may be called by many goroutines.
func startScripted(t *testing.T, serve func(w http.ResponseWriter, r *http.Request, body string)) *scripted {
	t.Helper()
	s := new(scripted)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.seen = append(s.seen, seenRequest{r.Header.Clone(), r.URL.RequestURI(), string(body)})
		s.mu.Unlock()
		serve(w, r, string(body))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *scripted) requests() []seenRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]seenRequest(nil), s.seen...)
}

// writeResponse writes a whole response.
func writeResponse(w http.ResponseWriter, status int, media, body string) {
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

const (
	eventMedia = "text/event-stream"
	jsonMedia  = "application/json"
	doneEvent  = "data: [DONE]\n\n"
)

// chatStream is a whole stream of a chat, of which nobody asked the usage.
func chatStream() string {
	return openAIChat().shapes[1].whole()
}

// chatOf asks for a chat.
func chatOf(model, more string) dialectRequest {
	return dialectRequest{path: chatPath, body: fmt.Sprintf(`{"model":%q,%s%s}`, model, more, chatMessages)}
}

// oneUpstream is a gateway before an upstream with one response, with limits.
func oneUpstream(t *testing.T, steps ...faulty.Response) (*dialectGateway, *faulty.Plan) {
	t.Helper()
	plan := faulty.InTurn(steps...)
	s := dialectSetup{dialectLines: newDialectLines(t), urls: []string{faulty.Start(t, "a", plan).URL}, limits: true}
	return s.start(t), plan
}

// gateway is a gateway before a scripted upstream.
func (s *scripted) gateway(t *testing.T, setup dialectSetup) *dialectGateway {
	t.Helper()
	setup.dialectLines = newDialectLines(t)
	setup.urls = append([]string{s.URL}, setup.urls...)
	require.NotEmpty(t, setup.urls)
	return setup.start(t)
}
