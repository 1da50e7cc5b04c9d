package demomodel_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ginfer/ginfer/examples/demomodel"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestInvalidRequests(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	one := func(fields object) object { return chat(question, fields) }
	message := func(m object) object {
		return object{"model": "demo", "messages": []object{{"role": "user", "content": "x"}, m}}
	}
	for _, tc := range []struct {
		name        string
		body        any
		param, code string
	}{
		{"no JSON", "{", "", "invalid_json"},
		{"more than JSON", "{} {}", "", "invalid_json"},
		{"empty", "", "", "invalid_json"},
		{"no object", "[]", "", "invalid_json"},
		{"no model", object{}, "model", "missing_required_parameter"},
		{"no messages", object{"model": "demo"}, "messages", "missing_required_parameter"},
		{"empty messages", one(object{"messages": []object{}}), "messages", "missing_required_parameter"},
		{"messages of another type", one(object{"messages": "x"}), "messages", "invalid_type"},
		{"role", message(object{"role": "robot", "content": "x"}), "messages[1].role", "invalid_value"},
		{"no content", message(object{"role": "user"}), "messages[1].content", "missing_required_parameter"},
		{"null content", message(object{"role": "tool", "content": nil}), "messages[1].content", "missing_required_parameter"},
		{"content of another type", message(object{"role": "user", "content": 1}), "messages[1].content", "invalid_type"},
		{"picture", message(object{"role": "user", "content": []object{{"type": "image_url"}}}), "messages[1].content[0]", "invalid_value"},
		{"part without text", message(object{"role": "user", "content": []object{{"type": "text"}}}), "messages[1].content[0]", "invalid_value"},
		{"max_tokens 0", one(object{"max_tokens": 0}), "max_tokens", "invalid_value"},
		{"max_tokens 4097", one(object{"max_tokens": 4097}), "max_tokens", "invalid_value"},
		{"max_tokens fraction", one(object{"max_tokens": 1.5}), "max_tokens", "invalid_type"},
		{"max_completion_tokens -1", one(object{"max_completion_tokens": -1}), "max_completion_tokens", "invalid_value"},
		{"both", one(object{"max_tokens": 1, "max_completion_tokens": 1}), "max_tokens", "invalid_value"},
		{"cold", one(object{"temperature": -0.1}), "temperature", "invalid_value"},
		{"hot", one(object{"temperature": 2.1}), "temperature", "invalid_value"},
		{"temperature of another type", one(object{"temperature": "hot"}), "temperature", "invalid_type"},
		{"top_p 0", one(object{"top_p": 0}), "top_p", "invalid_value"},
		{"top_p 1.1", one(object{"top_p": 1.1}), "top_p", "invalid_value"},
		{"n", one(object{"n": 2}), "n", "invalid_value"},
		{"seed", one(object{"seed": 0.5}), "seed", "invalid_type"},
		{"stop of another type", one(object{"stop": 1}), "stop", "invalid_type"},
		{"stop with null", one(object{"stop": []any{"a", nil}}), "stop", "invalid_type"},
		{"five stops", one(object{"stop": []string{"a", "b", "c", "d", "e"}}), "stop", "invalid_value"},
		{"empty stop", one(object{"stop": ""}), "stop", "invalid_value"},
		{"ignore_eos of another type", one(object{"ignore_eos": 1}), "ignore_eos", "invalid_type"},
		{"stream of another type", one(object{"stream": "yes"}), "stream", "invalid_type"},
		{"stream_options without stream", one(object{"stream_options": object{}}), "stream_options", "invalid_value"},
		{"include_usage of another type", one(object{"stream": true, "stream_options": object{"include_usage": 1}}), "stream_options.include_usage", "invalid_type"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			refused(t, post(t, s, chatPath, tc.body), http.StatusBadRequest, tc.param, tc.code)
		})
	}
}

// refused checks that a response is an error in OpenAI's shape.
func refused(t *testing.T, w *httptest.ResponseRecorder, status int, param, code string) {
	t.Helper()
	assert.Equal(t, status, w.Code)
	assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
	e := parse(t, w.Body.String()).Error
	require.NotNil(t, e)
	assert.NotEmpty(t, e.Message)
	assert.NotEmpty(t, e.Type)
	require.NotNil(t, e.Code)
	assert.Equal(t, code, *e.Code)
	if param == "" {
		assert.Contains(t, w.Body.String(), `"param":null`)
		return
	}
	require.NotNil(t, e.Param)
	assert.Equal(t, param, *e.Param)
}

func TestInvalidPrompts(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	refused(t, post(t, s, textPath, object{"model": "demo"}), http.StatusBadRequest, "prompt", "missing_required_parameter")
	for _, prompt := range []any{1, []int{1}, []string{}, []string{"a", "b"}, object{}} {
		refused(t, post(t, s, textPath, object{"model": "demo", "prompt": prompt}), http.StatusBadRequest, "prompt", "invalid_type")
	}
}

func TestUnknownModel(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	for _, path := range []string{chatPath, textPath} {
		refused(t, post(t, s, path, object{"model": "gpt-9"}), http.StatusNotFound, "model", "model_not_found")
	}
}

func TestBody(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	fits := `{"model":"demo","prompt":"` + strings.Repeat("a ", 1<<16) + `","max_tokens":1}`
	assert.Equal(t, http.StatusOK, post(t, s, textPath, fits).Code)

	long := `{"model":"demo","prompt":"` + strings.Repeat("a", 1<<20) + `"}`
	refused(t, post(t, s, textPath, long), http.StatusRequestEntityTooLarge, "", "request_too_large")

	broken := httptest.NewRequest(http.MethodPost, chatPath, iotest.ErrReader(errors.New("gone")))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, broken)
	refused(t, w, http.StatusBadRequest, "", "unreadable_body")
}

func TestAllFields(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	ask(t, s, chatPath, chat(question, object{
		"max_tokens": 4, "max_completion_tokens": nil, "temperature": 2, "top_p": 1, "n": 1, "seed": -1,
		"stop": []string{"a", "b", "c", "d"}, "ignore_eos": false, "stream": false, "stream_options": nil, "user": "me", "tools": []int{},
	}))
}
