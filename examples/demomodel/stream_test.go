package demomodel_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/examples/demomodel"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestChatStream(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	for _, tc := range []struct {
		name   string
		fields object
	}{
		{"until the model ends", object{"seed": 4}},
		{"length", object{"seed": 4, "max_tokens": 9}},
		{"longer than the context", object{"seed": 4, "max_tokens": 260, "ignore_eos": true}},
		{"stop", object{"seed": 4, "stop": "e"}},
		{"greedy", object{"temperature": 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			want := ask(t, s, chatPath, chat(question, tc.fields))
			tc.fields["stream"] = true
			list := events(t, post(t, s, chatPath, chat(question, tc.fields)))

			first, last := parse(t, list[0]), parse(t, list[len(list)-1])
			assert.Equal(t, "assistant", first.Choices[0].Delta.Role)
			assert.Empty(t, first.Choices[0].Delta.Content)
			var text strings.Builder
			for _, e := range list {
				assert.NotContains(t, e, `"usage"`)
				r := parse(t, e)
				assert.Equal(t, first.ID, r.ID)
				assert.Equal(t, "chat.completion.chunk", r.Object)
				text.WriteString(r.Choices[0].Delta.Content)
			}
			assert.Equal(t, want.Choices[0].Message.Content, text.String())
			assert.Equal(t, *want.Choices[0].Finish, *last.Choices[0].Finish)
			assert.Nil(t, first.Choices[0].Finish)
		})
	}
}

func TestTextStream(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	body := object{"model": "demo", "prompt": question, "seed": 4, "stop": []string{". "}}
	want := ask(t, s, textPath, body)
	body["stream"] = true
	var text strings.Builder
	list := events(t, post(t, s, textPath, body))
	for _, e := range list {
		r := parse(t, e)
		assert.Equal(t, "text_completion", r.Object)
		assert.NotContains(t, e, `"delta"`)
		text.WriteString(r.Choices[0].Text)
	}
	assert.Equal(t, want.Choices[0].Text, text.String())
	assert.Equal(t, *want.Choices[0].Finish, *parse(t, list[len(list)-1]).Choices[0].Finish)
}

func TestStreamUsage(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	want := ask(t, s, chatPath, chat(question, object{"max_tokens": 9}))
	list := events(t, post(t, s, chatPath, chat(question, object{
		"max_tokens": 9, "stream": true, "stream_options": object{"include_usage": true},
	})))
	for _, e := range list[:len(list)-1] {
		assert.Contains(t, e, `"usage":null`)
	}
	last := list[len(list)-1]
	assert.Contains(t, last, `"choices":[]`)
	assert.Equal(t, want.Usage, parse(t, last).Usage)
}

// leaver is a client that disconnects after some events. It cannot be flushed.
type leaver struct {
	http.ResponseWriter
	events, after int
	leave         func() error
}

func (l *leaver) Write(p []byte) (int, error) {
	l.events++
	if l.events == l.after {
		return 0, l.leave()
	}
	return len(p), nil
}

func TestCancelEndsAStreamWithinOneToken(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{Slots: 1})
	ctx, cancel := context.WithCancel(t.Context())
	w := &leaver{ResponseWriter: httptest.NewRecorder(), after: 5, leave: func() error { cancel(); return nil }}
	s.ServeHTTP(w, newPost(t, chatPath, chat(question, object{"stream": true, "max_tokens": 4096, "ignore_eos": true})).WithContext(ctx))
	assert.Equal(t, 5, w.events)
	assert.JSONEq(t, `{"status":"ok","running":0,"waiting":0}`, get(s, "/health").Body.String())
}

func TestBrokenConnectionEndsAStream(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{Slots: 1})
	for _, after := range []int{1, 2, 6, 7, 8, 9} { // the role, texts, the end, the usage and the mark
		w := &leaver{ResponseWriter: httptest.NewRecorder(), after: after, leave: func() error { return errors.New("gone") }}
		body := object{
			"model": "demo", "messages": chat(question, nil)["messages"], "stream": true, "seed": 1, "max_tokens": 5,
			"stream_options": object{"include_usage": true},
		}
		s.ServeHTTP(w, newPost(t, chatPath, body))
		assert.Equal(t, after, w.events)
	}
}

// One request goes through a real connection.
func TestStreamOverHTTP(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(newServer(t, demomodel.Config{}))
	defer srv.Close()
	req := newPost(t, chatPath, chat(question, object{"stream": true, "max_tokens": 3}))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+chatPath, req.Body)
	require.NoError(t, err)
	resp, err := srv.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.Flushed = true
	_, err = w.Body.ReadFrom(resp.Body)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, len(events(t, w)), 3)
}
