package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/ginfer/ginfer/internal/testkit/faulty"
	"github.com/stretchr/testify/require"
)

// scenario runs the check of one case as a parallel subtest.
func scenario(t *testing.T, name string, check func(t *testing.T, v *findings)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		v := new(findings)
		check(t, v)
		expectNone(t, v.problems)
	})
}

// seenRequest is a request as an upstream received it.
type seenRequest struct {
	header http.Header
	path   string
	body   string
}

// scripted is an upstream that records its requests.
type scripted struct {
	*httptest.Server

	mu   sync.Mutex
	seen []seenRequest
}

// startScripted starts an upstream. Goroutines may call serve concurrently.
func startScripted(t *testing.T, serve func(w http.ResponseWriter, r *http.Request, body string)) *scripted {
	t.Helper()
	s := new(scripted)
	s.Server = newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.seen = append(s.seen, seenRequest{r.Header.Clone(), r.URL.RequestURI(), string(body)})
		s.mu.Unlock()
		serve(w, r, string(body))
	}))
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

// chatStream is a whole stream of a chat without usage.
func chatStream() string {
	return openAIChat().shapes[1].whole()
}

// chatOf returns a chat request.
func chatOf(model, more string) dialectRequest {
	return dialectRequest{path: chatPath, body: fmt.Sprintf(`{"model":%q,%s%s}`, model, more, chatMessages)}
}

// oneUpstream starts a gateway with limits in front of a faulty upstream.
func oneUpstream(t *testing.T, steps ...faulty.Response) (*dialectGateway, *faulty.Plan) {
	t.Helper()
	plan := faulty.InTurn(steps...)
	s := dialectSetup{dialectLines: newDialectLines(t), urls: []string{faulty.Start(t, "a", plan).URL}, limits: true}
	return s.start(t), plan
}

// gateway starts a gateway in front of the upstream.
func (s *scripted) gateway(t *testing.T, setup dialectSetup) *dialectGateway {
	t.Helper()
	setup.dialectLines = newDialectLines(t)
	setup.urls = append([]string{s.URL}, setup.urls...)
	require.NotEmpty(t, setup.urls)
	return setup.start(t)
}
