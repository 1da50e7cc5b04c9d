package e2e_test

import (
	"io"
	"net/http"
	"strings"
)

// phases are streams that stop at a point and wait for the client to disconnect.
var phases = map[string][]string{
	"before the head":         nil,
	"after the head":          {""},
	"after a comment":         {": hello\n\n"},
	"after the role":          {roleEvent},
	"in mid-stream":           {roleEvent, tokenEvent},
	"within an event":         {roleEvent, tokenEvent, tokenEvent[:20]},
	"after the finish reason": {roleEvent, tokenEvent, "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"},
	"after the last event":    {roleEvent, tokenEvent, lastEvent},
}

// stopAfter writes events, and then waits for the end of the request.
func stopAfter(contentType string, events []string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if events != nil {
			w.Header().Set("Content-Type", contentType)
		}
		for _, e := range events {
			_, _ = io.WriteString(w, e)
			w.(http.Flusher).Flush()
		}
		signalArrived(r)
		<-r.Context().Done()
	}
}

// disconnects are clients that disconnect, each in its way and at its time.
func disconnects() (list []clientCase) {
	ways := map[string]func(*wire){
		"reset":  (*wire).abort,
		"closed": func(w *wire) { _ = w.Close() },
	}
	for way, leave := range ways {
		for phase, events := range phases {
			hasContent := len(events) > 1 // the client has content
			list = append(list, clientCase{name: way + " " + phase, upstream: stopAfter("text/event-stream", events), noRetry: true, client: func(w *wire, up *upstreamSignal) int {
				w.writeHead(rawRequest{length: len(streamBody)}, false)
				w.writeBody(streamBody, true)
				up.wait()
				if hasContent {
					w.readUntil("hello")
				}
				leave(w)
				return 0
			}})
		}
		list = append(list, clientCase{name: way + " in the midst of JSON", upstream: stopAfter("application/json", []string{longJSON}), noRetry: true, client: func(w *wire, up *upstreamSignal) int {
			w.writeHead(rawRequest{length: len(goodBody)}, false)
			w.writeBody(goodBody, true)
			up.wait()
			leave(w)
			return 0
		}})
	}
	return append(list, slowClients()...)
}

const streamBody = `{"model":"m","stream":true}`

// slowClients are clients with too short a timeout, or that do not read.
func slowClients() []clientCase {
	hasten := func(name, value, body string) func(*wire, *upstreamSignal) int {
		return func(w *wire, _ *upstreamSignal) int {
			status := w.post(rawRequest{fields: field(name, value)}, body)
			_, _ = w.readBody()
			return status
		}
	}
	late := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusGatewayTimeout) // as a server that sees too short a deadline
	}
	never := []string{roleEvent, tokenEvent}
	return []clientCase{
		{name: "too short a timeout", upstream: stopAfter("", nil), noRetry: true, statuses: []int{504}, client: hasten("x-request-timeout", "0.02", goodBody)},
		{name: "too short a timeout of gRPC", upstream: stopAfter("", nil), noRetry: true, statuses: []int{504}, client: hasten("grpc-timeout", "20m", goodBody)},
		{name: "too short a timeout after the role", upstream: stopAfter("text/event-stream", never[:1]), noRetry: true, client: hasten("x-request-timeout", "0.02", streamBody)},
		{name: "too short a timeout for a stream", upstream: stopAfter("text/event-stream", never), noRetry: true, statuses: []int{200}, client: hasten("x-request-timeout", "0.02", streamBody)},
		{name: "too short a timeout, as the upstream says", upstream: late, statuses: []int{504}, client: hasten("x-request-timeout", "10", goodBody)},
		{name: "a timeout of zero", client: hasten("x-request-timeout", "0.0000001", goodBody)},
		{name: "a client that does not read a stream", concurrent: true, noRetry: true, upstream: endless("text/event-stream", strings.Repeat(tokenEvent, 100)), client: neverReads(streamBody)},
		{name: "a client that does not read a download", concurrent: true, noRetry: true, upstream: endless("application/octet-stream", longJSON), client: neverReads(goodBody)},
		{name: "an upgraded connection that is reset", onlyProto: "h1", noRetry: true, upstream: echoUpgrade, client: func(w *wire, _ *upstreamSignal) int {
			w.writeHead(rawRequest{method: http.MethodGet, path: "/raw/socket", fields: [][2]string{{"connection", "upgrade"}, {"upgrade", "websocket"}}}, true)
			status := w.statusCode()
			w.writeRaw("hello")
			w.abort()
			return status
		}},
	}
}

// endless writes text until the request ends.
func endless(contentType, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", contentType)
		defer signalArrived(r)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, text); err != nil {
				return
			}
		}
	}
}

// neverReads sends a request and reads only the head of the response.
func neverReads(body string) func(*wire, *upstreamSignal) int {
	return func(w *wire, up *upstreamSignal) int {
		w.withholdWindow = true
		_ = w.SetReadBuffer(4 << 10)
		w.writeHead(rawRequest{length: len(body)}, false)
		w.writeBody(body, true)
		status := w.statusCode()
		up.wait()
		return status
	}
}

// echoUpgrade switches to another protocol and echoes.
func echoUpgrade(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_, _ = io.Copy(conn, rw)
}
