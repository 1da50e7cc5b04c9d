package e2e_test

import (
	"io"
	"net/http"
	"strings"
)

// phases are streams that stop at a point and wait for the client to leave.
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

// stops serves a stream up to a point, and stays there for as long as it is wanted.
func stops(contentType string, said []string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if said != nil {
			w.Header().Set("Content-Type", contentType)
		}
		for _, e := range said {
			_, _ = io.WriteString(w, e)
			w.(http.Flusher).Flush()
		}
		tellCame(r)
		<-r.Context().Done()
	}
}

// left are clients that leave, each in its way and at its time.
func left() (list []wrong) {
	ways := map[string]func(*wire){
		"reset":  (*wire).abort,
		"closed": func(w *wire) { _ = w.Close() },
	}
	for way, leave := range ways {
		for phase, said := range phases {
			sees := len(said) > 1 // the client has content
			list = append(list, wrong{name: way + " " + phase, does: stops("text/event-stream", said), once: true, do: func(w *wire, up *upstreamSeen) int {
				w.head(rawRequest{length: len(streamBody)}, false)
				w.part(streamBody, true)
				up.wait()
				if sees {
					w.until("hello")
				}
				leave(w)
				return 0
			}})
		}
		list = append(list, wrong{name: way + " in the midst of JSON", does: stops("application/json", []string{longJSON}), once: true, do: func(w *wire, up *upstreamSeen) int {
			w.head(rawRequest{length: len(goodBody)}, false)
			w.part(goodBody, true)
			up.wait()
			leave(w)
			return 0
		}})
	}
	return append(list, slow()...)
}

const streamBody = `{"model":"m","stream":true}`

// slow are clients that wait in vain, or let others wait.
func slow() []wrong {
	hasten := func(name, value, body string) func(*wire, *upstreamSeen) int {
		return func(w *wire, _ *upstreamSeen) int {
			status := w.post(rawRequest{fields: field(name, value)}, body)
			_, _ = w.rest()
			return status
		}
	}
	late := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusGatewayTimeout) // it knows that it has too little time
	}
	never := []string{roleEvent, tokenEvent}
	return []wrong{
		{name: "too short a timeout", does: stops("", nil), once: true, want: []int{504}, do: hasten("x-request-timeout", "0.02", goodBody)},
		{name: "too short a timeout of gRPC", does: stops("", nil), once: true, want: []int{504}, do: hasten("grpc-timeout", "20m", goodBody)},
		{name: "too short a timeout after the role", does: stops("text/event-stream", never[:1]), once: true, do: hasten("x-request-timeout", "0.02", streamBody)},
		{name: "too short a timeout for a stream", does: stops("text/event-stream", never), once: true, want: []int{200}, do: hasten("x-request-timeout", "0.02", streamBody)},
		{name: "too short a timeout, as the upstream says", does: late, want: []int{504}, do: hasten("x-request-timeout", "10", goodBody)},
		{name: "a timeout of no time", do: hasten("x-request-timeout", "0.0000001", goodBody)},
		{name: "a client that does not read a stream", wide: true, once: true, does: endless("text/event-stream", strings.Repeat(tokenEvent, 100)), do: doesNotRead(streamBody)},
		{name: "a client that does not read a download", wide: true, once: true, does: endless("application/octet-stream", longJSON), do: doesNotRead(goodBody)},
		{name: "an upgraded connection that is reset", only: "h1", once: true, does: upgrades, do: func(w *wire, _ *upstreamSeen) int {
			w.head(rawRequest{method: http.MethodGet, path: "/raw/socket", fields: [][2]string{{"connection", "upgrade"}, {"upgrade", "websocket"}}}, true)
			status := w.code()
			w.raw("hello")
			w.abort()
			return status
		}},
	}
}

// endless writes the same for as long as somebody takes it.
func endless(contentType, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", contentType)
		defer tellCame(r)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, text); err != nil {
				return
			}
		}
	}
}

// doesNotRead asks, takes the begin, and then nothing until the gateway has had enough.
func doesNotRead(body string) func(*wire, *upstreamSeen) int {
	return func(w *wire, up *upstreamSeen) int {
		w.mute = true
		_ = w.SetReadBuffer(4 << 10)
		w.head(rawRequest{length: len(body)}, false)
		w.part(body, true)
		status := w.code()
		up.wait()
		return status
	}
}

// upgrades switches to another protocol, and echoes.
func upgrades(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_, _ = io.Copy(conn, rw)
}
