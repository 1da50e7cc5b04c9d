package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// refused are requests that an upstream refuses with a status of its own.
func refused() (list []wrong) {
	responds := func(status int, after func() string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			if after != nil {
				w.Header().Set("Retry-After", after())
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"error":{"message":"no"}}`)
		}
	}
	for _, status := range []int{400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 413, 414, 415, 417, 418, 421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 498, 499} {
		list = append(list,
			wrong{name: strconv.Itoa(status), does: responds(status, nil), want: []int{status}, once: true, do: plainly(rawRequest{})},
			wrong{name: strconv.Itoa(status) + " of an upload", does: responds(status, nil), want: []int{status}, once: true, do: func(w *wire, _ *upstreamSeen) int {
				return w.post(rawRequest{path: "/raw/files"}, streamedPart)
			}})
	}
	// With nowhere else to go, whoever else calls is let through. The caller itself may be
	// told by the gateway what the upstream told it.
	for name, after := range map[string]func() string{
		"30":      func() string { return "30" },
		"a day":   func() string { return "86400" },
		"a date":  func() string { return time.Now().Add(time.Minute).UTC().Format(http.TimeFormat) },
		"no time": func() string { return "soon" },
	} {
		list = append(list, wrong{name: "429 with Retry-After: " + name, does: responds(429, after), want: []int{429, 503}, once: true, do: plainly(rawRequest{})})
	}
	return list
}

// events of a stream.
func events(list ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range list {
			_, _ = io.WriteString(w, e)
			w.(http.Flusher).Flush()
		}
	}
}

// ownFault are errors in a 200 that the request itself is to blame for, or nobody knows.
var ownFault = map[string]string{
	"a request that is too long":  `{"error":{"message":"8192 tokens","type":"invalid_request_error","code":"context_length_exceeded"}}`,
	"an invalid request":          `{"error":{"message":"no","type":"invalid_request_error","param":"tools"}}`,
	"Anthropic's invalid request": `{"type":"error","error":{"type":"invalid_request_error","message":"no"}}`,
	"no more quota":               `{"error":{"message":"no","type":"insufficient_quota","code":"insufficient_quota"}}`,
	"a rate limit":                `{"error":{"message":"slower","type":"rate_limit_error","code":"rate_limit_exceeded"}}`,
	"a bad key":                   `{"type":"error","error":{"type":"authentication_error","message":"no"}}`,
	"a refusal by a filter":       `{"error":{"message":"no","code":"content_filter","status":400}}`,
	"a kind that nobody knows":    `{"error":{"message":"no","type":"strange"}}`,
	"a text alone":                `{"error":"no"}`,
}

// mayPass are those of which another attempt may make something.
var mayPass = map[string]bool{"a rate limit": true, "a kind that nobody knows": true, "a text alone": true}

// inStream are streams and JSON with status 200 that say so.
func inStream() (list []wrong) {
	streams := func(w *wire, _ *upstreamSeen) int {
		status := w.post(rawRequest{}, `{"model":"m","stream":true}`)
		_, _ = w.rest()
		return status
	}
	for name, e := range ownFault {
		event := "data: " + e + "\n\n"
		list = append(list,
			wrong{name: name + ", first", does: events(event), once: !mayPass[name], do: streams},
			wrong{name: name + ", after the role", does: events(roleEvent, event), once: !mayPass[name], do: streams},
			wrong{name: name + ", late", does: events(roleEvent, tokenEvent, event), once: true, want: []int{200}, do: streams},
			wrong{name: name + ", in JSON", once: !mayPass[name], do: plainly(rawRequest{}), does: func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, e)
			}})
	}
	failed := func(code string) string {
		return fmt.Sprintf("event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":%q,\"message\":\"no\"}}}\n\n", code)
	}
	for _, code := range []string{"invalid_prompt", "rate_limit_exceeded"} {
		list = append(list, wrong{name: "response.failed for " + code, does: events(failed(code)), once: true, do: func(w *wire, _ *upstreamSeen) int {
			status := w.post(rawRequest{path: "/v1/responses"}, `{"model":"m","stream":true}`)
			_, _ = w.rest()
			return status
		}})
	}
	return list
}
