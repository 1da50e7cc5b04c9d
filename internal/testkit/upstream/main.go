// Command upstream is a model server for load tests of a gateway. It responds at once: with
// a completion as JSON, or with twenty events when the request asks for a stream.
package main

import (
	"bytes"
	"flag"
	"io"
	"log"
	"net/http"
	"time"
)

func main() {
	address := flag.String("address", "127.0.0.1:18000", "where to listen")
	flag.Parse()
	server := &http.Server{Addr: *address, Handler: http.HandlerFunc(respond), ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}

const (
	completion = `{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}`
	event      = `data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"hello"}}]}` + "\n\n"
	events     = 20
)

func respond(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if !bytes.Contains(body, []byte(`"stream":true`)) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, completion)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	conn := http.NewResponseController(w)
	for range events {
		_, _ = io.WriteString(w, event)
		_ = conn.Flush()
	}
	_, _ = io.WriteString(w, "data: [DONE]\n\n")
}
