package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// sdkWants is the expected outcome of a scene in a client.
func sdkWants(client, api, name string) sdkOutcome {
	finish := map[string]string{"chat": "stop", "responses": "completed", "messages": "end_turn", "gemini": "STOP"}[api]
	if client == "vercel" {
		finish = "stop"
	}
	want := sdkOutcome{Text: "hello", Finish: finish, Usage: 5}
	quota, tooLong := "insufficient_quota", "context_length_exceeded"
	if api == "messages" {
		quota, tooLong = "rate_limit_error", "invalid_request_error"
	}
	if api == "chat" && name != "json" && name != "usage" {
		want.Usage = 0 // not requested
	}
	switch name {
	case "tools":
		want.Text, want.Tool = "", `add{"a":1}`
		switch {
		case client == "vercel":
			want.Finish = "tool-calls"
		case api == "chat":
			want.Finish = "tool_calls"
		case api == "messages":
			want.Finish = "tool_use"
		}
	case "quota":
		want = sdkOutcome{Error: &sdkError{Class: errorClass(client, "quota"), Status: 429, Code: quota}}
	case "context":
		want = sdkOutcome{Error: &sdkError{Class: errorClass(client, "context"), Status: 400, Code: tooLong}}
	case "quota-event":
		want = sdkOutcome{Error: &sdkError{Class: errorClass(client, api+"/event"), Code: quota}}
	case "context-event":
		want = sdkOutcome{Error: &sdkError{Class: errorClass(client, api+"/event"), Code: tooLong}}
	case "late":
		want = sdkOutcome{Text: "hello", Error: &sdkError{Class: errorClass(client, api+"/late"), Code: quota}}
	case "cut":
		want = sdkOutcome{Text: "hello", Error: &sdkError{Class: errorClass(client, api+"/late")}}
	}
	return want
}

// errorClass is the type of the error that an SDK raises. The SDKs for Go have a type for
// error statuses, and only the newest for errors within a stream. openai leaves
// response.failed to its caller.
func errorClass(client, of string) string {
	classes := map[string]string{"quota": "*apierror.Error", "context": "*apierror.Error", "*": "*errors.errorString"}
	switch client {
	case "openai", "anthropic":
		classes = map[string]string{"quota": "RateLimitError", "context": "BadRequestError", "*": "APIError", "responses/event": "Object", "responses/late": "Object"}
	case "vercel":
		classes = map[string]string{"*": "APICallError", "chat/event": "StreamProviderError", "chat/late": "StreamProviderError", "messages/late": "StreamProviderError", "responses/late": "StreamProviderError"}
	case "openainew":
		classes["chat/event"], classes["chat/late"] = "*ssestream.StreamError", "*ssestream.StreamError"
	}
	if name, ok := classes[of]; ok {
		return name
	}
	return classes["*"]
}

// sdkProblems compares an outcome with the expected one.
func sdkProblems(client, api, name string, got sdkOutcome) (all []string) {
	want := sdkWants(client, api, name)
	differ := func(what string, want, got any) {
		if want != got {
			all = append(all, fmt.Sprintf("%s: want %v, got %v", what, want, got))
		}
	}
	differ("text", want.Text, got.Text)
	differ("tool", want.Tool, got.Tool)
	differ("usage", want.Usage, got.Usage)
	if want.Error == nil {
		differ("finish", want.Finish, got.Finish)
		if got.Error != nil {
			all = append(all, fmt.Sprintf("error: %+v", *got.Error))
		}
		return all
	}
	if got.Error == nil {
		return append(all, "no error: it seems to be whole")
	}
	if !slices.Contains([]string{"", "error"}, got.Finish) {
		all = append(all, "finished: "+got.Finish)
	}
	differ("class", want.Error.Class, got.Error.Class)
	if strings.HasSuffix(name, "quota") || strings.HasSuffix(name, "context") {
		differ("status", want.Error.Status, got.Error.Status)
	}
	if want.Error.Code != "" {
		differ("code", want.Error.Code, got.Error.Code)
	}
	if api == "responses" && client != "vercel" && slices.Contains([]string{"cut", "late", "quota-event", "context-event"}, name) {
		differ("response.failed", true, got.Failed != "")
	}
	return all
}

// checkSDK checks the outcomes of a client's scenes.
func checkSDK(t *testing.T, client string, got map[string]sdkOutcome, apis ...string) {
	t.Helper()
	for _, s := range scenes(&process{}) {
		if !slices.Contains(apis, s.API) {
			continue
		}
		t.Run(client+"/"+s.Name, func(t *testing.T) {
			t.Parallel()
			o, ok := got[s.Name]
			if !assert.True(t, ok, "the program has not run it") {
				return
			}
			_, name, _ := strings.Cut(s.Name, "/")
			expectNone(t, sdkProblems(client, s.API, name, o))
		})
	}
}
