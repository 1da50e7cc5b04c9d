package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/internal/testkit/faulty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	switchedHead = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	closing      = "\x88\x02\x03\xe8" // a close frame, status 1000
)

// frame is a text frame of a server.
func frame(text string) string {
	if len(text) < 126 {
		return "\x81" + string(rune(len(text))) + text
	}
	return "\x81\x7e" + string([]byte{byte(len(text) >> 8), byte(len(text))}) + text
}

// realtimeEnds are the ends of a WebSocket connection: what the upstream sends, the outcome in
// the access log, and the state of the circuit. The gateway does not read the bytes of a
// tunnel: an established tunnel is a success.
var realtimeEnds = map[string]struct {
	steps   faulty.Response
	bytes   string // after the head
	status  int
	outcome string
	state   breaker.State
	calls   string // in a chain without fallback
}{
	"proper":              tunnel(frame(`{"type":"session.created","event_id":"event_1"}`)+frame(`{"type":"response.done","event_id":"event_2","response":{"status":"completed"}}`)+closing, faulty.Cut()),
	"cut after content":   tunnel(frame(`{"type":"response.output_audio.delta","event_id":"event_3","delta":"//Pk"}`), faulty.Cut()),
	"cut before content":  tunnel("", faulty.Cut()),
	"error first, server": tunnel(frame(`{"type":"error","event_id":"event_1","error":{"type":"server_error","code":null,"message":"The server had an error."}}`)+closing, faulty.Cut()),
	"error first, quota":  tunnel(frame(`{"type":"error","event_id":"event_1","error":{"type":"insufficient_quota","code":"insufficient_quota","message":"You exceeded your current quota."}}`)+closing, faulty.Cut()),
	"status, server":      handshake("500 Internal Server Error", openAIServerError, "failure", breaker.Open, "2 0"),
	"status, request":     handshake("400 Bad Request", openAIRequestError, "success", breaker.Closed, "1 0"),
	"status, quota":       handshake("429 Too Many Requests", openAIQuotaError, "success", breaker.Closed, "1 0"),
}

type realtimeEnd = struct {
	steps   faulty.Response
	bytes   string
	status  int
	outcome string
	state   breaker.State
	calls   string
}

func tunnel(bytes string, then faulty.Step) realtimeEnd {
	return realtimeEnd{faulty.Response{faulty.Say(switchedHead + bytes), then}, bytes, http.StatusSwitchingProtocols, "success", breaker.Closed, "1 0"}
}

func handshake(line, body, outcome string, state breaker.State, calls string) realtimeEnd {
	var status int
	_, _ = fmt.Sscan(line, &status)
	return realtimeEnd{faulty.Plain(line, "Content-Type: application/json\r\n", body), body, status, outcome, state, calls}
}

// realtimeExcluded are the cells of the matrix that do not apply to realtime.
var realtimeExcluded = map[string]string{
	"hold":                       "a tunnel is never prefetched: its first bytes may be the client's",
	"cache":                      "a tunnel can't be cached",
	endNoMarker:                  "the gateway does not read frames",
	endCleanAfter:                "as without marker",
	endLate + kindServer:         "as error first: the frames are not read",
	endNoBytes + ", white space": "a 101 has no body, and any other status to an upgrade is a refusal",
}

// TestDialectRealtime is the matrix's row for realtime: the tunnel passes byte for byte, is
// not charged by its bytes, and is no evidence against an endpoint.
func TestDialectRealtime(t *testing.T) {
	t.Parallel()
	require.NotEmpty(t, realtimeExcluded)
	for name, end := range realtimeEnds {
		for _, chain := range []string{chainPlain, chainLimits, chainFallback} {
			t.Run(name+", "+chain, func(t *testing.T) {
				t.Parallel()
				v := new(findings)
				runRealtime(t, v, end, chain)
				expectNone(t, v.problems)
			})
		}
	}
}

func runRealtime(t *testing.T, v *findings, end realtimeEnd, chain string) {
	t.Helper()
	c := dialectCell{chain: chain}
	first, second := faulty.InTurn(end.steps), faulty.InTurn(faulty.Response{faulty.Say(switchedHead + closing), faulty.Cut()})
	setup := c.setup()
	setup.dialectLines, setup.urls = newDialectLines(t), twoUpstreams(t, first, second)
	g := setup.start(t)
	elsewhere := chain == chainFallback && (end.calls == "2 0" || end.status == http.StatusTooManyRequests)
	for i := range dialectRepeats {
		status, bytes, outcome := g.converse(t)
		if i > 0 && end.state == breaker.Open {
			continue
		}
		if elsewhere {
			assert.Equal(v, http.StatusSwitchingProtocols, status)
			assert.Equal(v, closing, bytes)
			assert.Equal(v, "success", outcome)
			continue
		}
		assert.Equal(v, end.status, status)
		assert.Equal(v, end.bytes, bytes, "every byte of the tunnel")
		assert.Equal(v, end.outcome, outcome, "outcome in the log")
		if i == 0 {
			assert.Equal(v, end.calls, fmt.Sprint(len(first.Calls()), len(second.Calls())), "calls of both upstreams")
		}
	}
	assert.Zero(v, g.charged(), "tokens charged")
	assert.Equal(v, end.state, g.reaches("a", end.state), "circuit")
}

// converse opens a WebSocket and reads to its end.
func (g *dialectGateway) converse(t *testing.T) (status int, bytes, outcome string) {
	t.Helper()
	conn, err := net.Dial("tcp", hostOf(t, g.URL))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, "GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: gateway.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	require.NoError(t, err)
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	var rest []byte
	if res.StatusCode == http.StatusSwitchingProtocols {
		rest, _ = io.ReadAll(r) // a tunnel that was cut may end with a reset
	} else {
		rest, err = io.ReadAll(res.Body)
		require.NoError(t, err)
	}
	_ = conn.Close() // a tunnel ends when both sides have closed
	select {
	case outcome = <-g.lines:
	case <-time.After(patience):
	}
	return res.StatusCode, strings.Clone(string(rest)), outcome
}
