package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// refusals are requests that the upstream refuses with a 4xx status.
func refusals() (list []clientCase) {
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
			clientCase{name: strconv.Itoa(status), upstream: responds(status, nil), statuses: []int{status}, noRetry: true, client: sendPlain(rawRequest{})},
			clientCase{name: strconv.Itoa(status) + " of an upload", upstream: responds(status, nil), statuses: []int{status}, noRetry: true, client: func(w *wire, _ *upstreamSignal) int {
				return w.post(rawRequest{path: "/raw/files"}, streamedPart)
			}})
	}
	// There is no other endpoint, so other callers still get through. For the caller itself the
	// gateway may respond with the cooldown that the upstream set.
	for name, after := range map[string]func() string{
		"30":      func() string { return "30" },
		"a day":   func() string { return "86400" },
		"a date":  func() string { return time.Now().Add(time.Minute).UTC().Format(http.TimeFormat) },
		"no time": func() string { return "soon" },
	} {
		list = append(list, clientCase{name: "429 with Retry-After: " + name, upstream: responds(429, after), statuses: []int{429, 503}, noRetry: true, client: sendPlain(rawRequest{})})
	}
	return list
}

// eventHandler streams a list of events.
func eventHandler(list ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range list {
			_, _ = io.WriteString(w, e)
			w.(http.Flusher).Flush()
		}
	}
}

// requestErrors are errors in a 200 that are the request's fault or of an unknown kind.
var requestErrors = map[string]string{
	"a request that is too long":  `{"error":{"message":"8192 tokens","type":"invalid_request_error","code":"context_length_exceeded"}}`,
	"an invalid request":          `{"error":{"message":"no","type":"invalid_request_error","param":"tools"}}`,
	"Anthropic's invalid request": `{"type":"error","error":{"type":"invalid_request_error","message":"no"}}`,
	"no more quota":               `{"error":{"message":"no","type":"insufficient_quota","code":"insufficient_quota"}}`,
	"a rate limit":                `{"error":{"message":"slower","type":"rate_limit_error","code":"rate_limit_exceeded"}}`,
	"a bad key":                   `{"type":"error","error":{"type":"authentication_error","message":"no"}}`,
	"a refusal by a filter":       `{"error":{"message":"no","code":"content_filter","status":400}}`,
	"an unknown kind":             `{"error":{"message":"no","type":"strange"}}`,
	"a text alone":                `{"error":"no"}`,
}

// retryable are those for which another attempt may succeed.
var retryable = map[string]bool{"a rate limit": true, "an unknown kind": true, "a text alone": true}

// errorsInStream are streams and JSON documents with status 200 that contain such an error.
func errorsInStream() (list []clientCase) {
	streams := func(w *wire, _ *upstreamSignal) int {
		status := w.post(rawRequest{}, `{"model":"m","stream":true}`)
		_, _ = w.readBody()
		return status
	}
	for name, e := range requestErrors {
		event := "data: " + e + "\n\n"
		list = append(list,
			clientCase{name: name + ", first", upstream: eventHandler(event), noRetry: !retryable[name], client: streams},
			clientCase{name: name + ", after the role", upstream: eventHandler(roleEvent, event), noRetry: !retryable[name], client: streams},
			clientCase{name: name + ", late", upstream: eventHandler(roleEvent, tokenEvent, event), noRetry: true, statuses: []int{200}, client: streams},
			clientCase{name: name + ", in JSON", noRetry: !retryable[name], client: sendPlain(rawRequest{}), upstream: func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, e)
			}})
	}
	failed := func(code string) string {
		return fmt.Sprintf("event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":%q,\"message\":\"no\"}}}\n\n", code)
	}
	for _, code := range []string{"invalid_prompt", "rate_limit_exceeded"} {
		list = append(list, clientCase{name: "response.failed for " + code, upstream: eventHandler(failed(code)), noRetry: true, client: func(w *wire, _ *upstreamSignal) int {
			status := w.post(rawRequest{path: "/v1/responses"}, `{"model":"m","stream":true}`)
			_, _ = w.readBody()
			return status
		}})
	}
	return list
}
