package e2e_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/faulty"
)

// fault is a failure of an upstream, in JSON and in a stream.
type fault struct {
	refusesConnection bool // the server does not listen
	json, stream      faulty.Response

	status             int  // of the response when every attempt fails
	passThrough        bool // the client gets the last response
	notEndpointFailure bool // not a failure of the endpoint
	coolsDown          bool // the endpoint asks for a cooldown
	afterContent       bool // no retry is possible
	errorEvent         bool // an error event precedes the cut
	succeeds           bool // not a fault
}

const (
	jsonHead = "application/json\r\nX-Bad: 1"
	sseHead  = "text/event-stream\r\nX-Bad: 1"

	goodJSON = `{"choices":[{"message":{"content":"hello"}}]}`
	// Responses of failed attempts contain BAD.
	badJSON    = `{"id":"BAD","choices":[{"message":{"content":"hel`
	badRole    = "data: {\"id\":\"BAD\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
	tokenEvent = "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n"
)

var (
	goodStream = roleEvent + strings.Repeat(tokenEvent, 3) + "data: [DONE]\n\n"
	// JSON that is too long for prefetch.
	longJSON = `{"choices":[{"message":{"content":"` + strings.Repeat("hello ", 10000)
)

// anyForm is a fault before the forms differ.
func anyForm(status int, steps ...faulty.Step) fault {
	return fault{json: steps, stream: steps, status: status}
}

// bodyFault is a fault within a body: JSON has begun, a stream has no content yet.
func bodyFault(status int, steps ...faulty.Step) fault {
	return fault{status: status, json: faulty.Broken(jsonHead, []string{badJSON}, steps...), stream: faulty.Broken(sseHead, []string{badRole}, steps...)}
}

// lateFault is a fault after the first content, between two events.
func lateFault(steps ...faulty.Step) fault {
	return fault{
		afterContent: true, errorEvent: true,
		json: faulty.Broken(jsonHead, []string{longJSON}, steps...), stream: faulty.Broken(sseHead, []string{roleEvent + tokenEvent}, steps...),
	}
}

// statusFault is an error status.
func statusFault(status int, line, header string) fault {
	a := faulty.Plain(line, header+"X-Bad: 1\r\nContent-Type: application/json\r\n", `{"error":"BAD"}`)
	return fault{json: a, stream: a, status: status, passThrough: true, notEndpointFailure: status == 429, coolsDown: strings.Contains(header, "Retry-After")}
}

// dripping is not a fault: a few bytes at a time, for longer than any timeout, without a long
// pause.
func dripping() fault {
	stream := faulty.Response{
		faulty.Drip(faulty.Head(sseHead)+faulty.Chunk(roleEvent)+faulty.Chunk(tokenEvent), 40, time.Millisecond),
		faulty.Drip(faulty.Chunk(tokenEvent)+faulty.Chunk(tokenEvent)+faulty.Chunk("data: [DONE]\n\n")+faulty.Chunk(""), 5, 40*time.Millisecond),
	}
	// A chunk counts when it is complete, bytes of a Content-Length one by one.
	json := faulty.Response{
		faulty.Drip(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Bad: 1\r\nContent-Length: %d\r\n\r\n", len(goodJSON)), 40, time.Millisecond),
		faulty.Drip(goodJSON, 2, 80*time.Millisecond),
	}
	return fault{json: json, stream: stream, succeeds: true}
}

var faults = map[string]fault{
	"refused":                  {refusesConnection: true, status: 502},
	"closed before headers":    anyForm(502, faulty.Cut()),
	"reset before headers":     anyForm(502, faulty.Reset()),
	"reset within headers":     anyForm(502, faulty.Say("HTTP/1.1 200 OK\r\nContent-Type: text/eve"), faulty.Reset()),
	"silent":                   anyForm(504, faulty.Stall()),
	"no HTTP":                  anyForm(502, faulty.Say("\x16\x03\x01BAD\r\n\r\n"), faulty.Cut()),
	"no HTTP, without a line":  anyForm(502, faulty.Say(strings.Repeat("BAD", 10)), faulty.Cut()),
	"an invalid header":        anyForm(502, faulty.Say("HTTP/1.1 200 OK\r\nBAD header\r\n\r\n"), faulty.Stall()),
	"huge headers":             anyForm(502, faulty.Say("HTTP/1.1 200 OK\r\nX-Bad: "+strings.Repeat("a", 300<<10)+"\r\n\r\n"), faulty.Stall()),
	"many headers":             anyForm(502, faulty.Say("HTTP/1.1 200 OK\r\n"+strings.Repeat("X-Bad: aaaaaaaaaaaaaaaa\r\n", 20000)+"\r\n"), faulty.Stall()),
	"headers without end":      anyForm(502, faulty.Say("HTTP/1.1 200 OK\r\n"), faulty.Repeat("X-Bad: "+strings.Repeat("a", 1<<10)+"\r\n", 0)),
	"slow headers without end": anyForm(504, faulty.Say("HTTP/1.1 200 OK\r\n"), faulty.Repeat("X-Bad: a\r\n", 10*time.Millisecond)),
	"100 Continue without end": anyForm(502, faulty.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 0)),

	"500":                  statusFault(500, "500 Internal Server Error", ""),
	"503":                  statusFault(503, "503 Service Unavailable", "Retry-After: 30\r\n"),
	"429":                  statusFault(429, "429 Too Many Requests", ""),
	"429 with Retry-After": statusFault(429, "429 Too Many Requests", "Retry-After: 30\r\n"),

	"an error in a 200": {
		status: 200, passThrough: true, json: faulty.Plain("200 OK", "Content-Type: "+jsonHead+"\r\n", `{"error":{"message":"BAD","type":"server_error"}}`),
		stream: faulty.Chunked(sseHead, badRole, errorEvent),
	},
	"an error event of Anthropic's": {
		status: 200, passThrough: true, json: faulty.Plain("200 OK", "Content-Type: "+jsonHead+"\r\n", `{"type":"error","error":{"type":"overloaded_error","message":"BAD"}}`),
		stream: faulty.Chunked(sseHead, "event: error\n", "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"BAD\"}}\n\n"),
	},
	"a stall after the head": {status: 504, json: faulty.Broken(jsonHead, nil, faulty.Stall()), stream: faulty.Broken(sseHead, nil, faulty.Stall())},
	"a stall":                bodyFault(504, faulty.Stall()),
	"a cut":                  bodyFault(502, faulty.Cut()),
	"a reset":                bodyFault(502, faulty.Reset()),
	"a cut of a promised length": {
		status: 502, json: faulty.Response{faulty.Say("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n" + badJSON), faulty.Cut()},
		stream: faulty.Response{faulty.Say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 1000\r\n\r\n" + badRole), faulty.Cut()},
	},
	"an end too early": bodyFault(502, faulty.Say(faulty.Chunk(""))),
	"an end by close": {
		status: 502, json: faulty.Response{faulty.Say("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + badJSON), faulty.Cut()},
		stream: faulty.Response{faulty.Say("HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + badRole), faulty.Cut()},
	},
	"garbage between chunks": bodyFault(502, faulty.Say("NO SIZE\r\n"), faulty.Stall()),
	"garbage as body": {
		status: 502, json: faulty.Chunked(jsonHead, "\x00\xffBAD<html>"), stream: faulty.Chunked(sseHead, "\x00\xffBAD<html>\n\n"),
	},

	"a late cut":                     lateFault(faulty.Cut()),
	"a late reset":                   lateFault(faulty.Reset()),
	"a late stall":                   lateFault(faulty.Stall()),
	"late garbage":                   lateFault(faulty.Say("NO SIZE\r\n"), faulty.Stall()),
	"a late cut within an event":     {afterContent: true, json: lateFault(faulty.Cut()).json, stream: faulty.Broken(sseHead, []string{roleEvent + tokenEvent, tokenEvent[:20]}, faulty.Cut())},
	"a late stall within an event":   {afterContent: true, json: lateFault(faulty.Stall()).json, stream: faulty.Broken(sseHead, []string{roleEvent + tokenEvent, tokenEvent[:20]}, faulty.Stall())},
	"late, and of a promised length": {afterContent: true, errorEvent: true, json: faulty.Response{faulty.Say("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n" + longJSON), faulty.Cut()}, stream: lateFault(faulty.Cut()).stream},

	"slowly": dripping(),
}
