package demomodel_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/examples/demomodel"
	"github.com/stretchr/testify/require"
)

const (
	chatPath = "/v1/chat/completions"
	textPath = "/v1/completions"

	question = "What is a gateway?"
)

// object is a JSON object of a request.
type object map[string]any

// chat returns a request with one message and the given fields.
func chat(content string, fields object) object {
	o := object{"model": "demo", "messages": []object{{"role": "user", "content": content}}}
	maps.Copy(o, fields)
	return o
}

// reply has the fields of responses and stream events that tests check.
type reply struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Created     int64  `json:"created"`
	Model       string `json:"model"`
	Fingerprint string `json:"system_fingerprint"`
	Choices     []struct {
		Text    string  `json:"text"`
		Finish  *string `json:"finish_reason"`
		Message struct {
			Role    string `json:"role"`
			Content string `json:"content"`
		} `json:"message"`
		Delta struct {
			Role    string `json:"role"`
			Content string `json:"content"`
		} `json:"delta"`
	} `json:"choices"`
	Usage *struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Total      int `json:"total_tokens"`
	} `json:"usage"`
	Error *apiError `json:"error"`
}

type apiError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

func newServer(tb testing.TB, cfg demomodel.Config) *demomodel.Server {
	tb.Helper()
	s, err := demomodel.New(cfg)
	require.NoError(tb, err)
	return s
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func newPost(tb testing.TB, path string, body any) *http.Request {
	tb.Helper()
	raw, ok := body.(string)
	if !ok {
		data, err := json.Marshal(body)
		require.NoError(tb, err)
		raw = string(data)
	}
	return httptest.NewRequest(http.MethodPost, path, strings.NewReader(raw)).WithContext(tb.Context())
}

func post(tb testing.TB, h http.Handler, path string, body any) *httptest.ResponseRecorder {
	tb.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, newPost(tb, path, body))
	return w
}

func parse(tb testing.TB, data string) reply {
	tb.Helper()
	var r reply
	require.NoError(tb, json.Unmarshal([]byte(data), &r), data)
	return r
}

// ask posts a request and expects status 200.
func ask(tb testing.TB, h http.Handler, path string, body any) reply {
	tb.Helper()
	w := post(tb, h, path, body)
	require.Equal(tb, http.StatusOK, w.Code, w.Body)
	require.Equal(tb, "application/json", w.Header().Get("Content-Type"))
	r := parse(tb, w.Body.String())
	require.Len(tb, r.Choices, 1)
	require.NotNil(tb, r.Choices[0].Finish)
	return r
}

// say sends a chat request and returns its text and finish reason.
func say(tb testing.TB, h http.Handler, body any) (text, finish string) {
	tb.Helper()
	c := ask(tb, h, chatPath, body).Choices[0]
	return c.Message.Content, *c.Finish
}

// events splits a stream and checks its frame.
func events(tb testing.TB, w *httptest.ResponseRecorder) []string {
	tb.Helper()
	require.Equal(tb, http.StatusOK, w.Code, w.Body)
	require.Equal(tb, "text/event-stream", w.Header().Get("Content-Type"))
	require.True(tb, w.Flushed)
	list := strings.Split(strings.TrimSuffix(w.Body.String(), "\n\n"), "\n\n")
	for i, e := range list {
		data, ok := strings.CutPrefix(e, "data: ")
		require.True(tb, ok, e)
		list[i] = data
	}
	require.Equal(tb, "[DONE]", list[len(list)-1])
	return list[:len(list)-1]
}
