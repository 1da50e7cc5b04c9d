package demomodel_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ginfer/ginfer/examples/demomodel"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestModels(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{Name: "org/small"})
	w := get(s, "/v1/models")
	assert.Equal(t, http.StatusOK, w.Code)
	var list struct {
		Object string
		Data   []struct {
			ID, Object string
			Created    int64
			OwnedBy    string `json:"owned_by"`
		}
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &list))
	assert.Equal(t, "list", list.Object)
	require.Len(t, list.Data, 1)
	assert.Equal(t, "org/small", list.Data[0].ID)
	assert.Equal(t, "model", list.Data[0].Object)
	assert.Equal(t, "ginfer", list.Data[0].OwnedBy)
	assert.Positive(t, list.Data[0].Created)

	one := get(s, "/v1/models/org/small")
	assert.Equal(t, http.StatusOK, one.Code)
	var raw struct{ Data []json.RawMessage }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &raw))
	assert.JSONEq(t, string(raw.Data[0]), one.Body.String())

	other := get(s, "/v1/models/org/large")
	assert.Equal(t, http.StatusNotFound, other.Code)
	assert.Equal(t, "model_not_found", *parse(t, other.Body.String()).Error.Code)
}

func TestHealth(t *testing.T) {
	t.Parallel()
	w := get(newServer(t, demomodel.Config{}), "/health")
	assert.Equal(t, http.StatusOK, w.Code)
	assert.JSONEq(t, `{"status":"ok","running":0,"waiting":0}`, w.Body.String())
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	for _, tc := range []struct {
		method, path string
		status       int
		code, allow  string
	}{
		{http.MethodGet, "/", http.StatusNotFound, "unknown_url", ""},
		{http.MethodPost, "/v1/embeddings", http.StatusNotFound, "unknown_url", ""},
		{http.MethodGet, chatPath, http.StatusMethodNotAllowed, "method_not_supported", "POST"},
		{http.MethodDelete, "/v1/models/demo", http.StatusMethodNotAllowed, "method_not_supported", "GET"},
	} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(tc.method, tc.path, nil))
		assert.Equal(t, tc.status, w.Code, tc.path)
		assert.Equal(t, tc.allow, w.Header().Get("Allow"), tc.path)
		assert.Equal(t, tc.code, *parse(t, w.Body.String()).Error.Code, tc.path)
	}
}

// whatIsAGateway is the response of v2 to [question] at temperature 0.
const whatIsAGateway = "A gateway is the one door through which all requests reach your models. " +
	"It checks the caller, picks a healthy server, and passes the answer on as it is written. " +
	"Limits, caching, retries and routing live there, so your servers can stay simple."

func TestChat(t *testing.T) {
	t.Parallel()
	r := ask(t, newServer(t, demomodel.Config{}), chatPath, chat(question, object{"temperature": 0}))
	assert.True(t, strings.HasPrefix(r.ID, "chatcmpl-"), r.ID)
	assert.Equal(t, "chat.completion", r.Object)
	assert.Positive(t, r.Created)
	assert.Equal(t, "demo", r.Model)
	assert.Regexp(t, "^fp_[0-9a-f]{8}$", r.Fingerprint)
	assert.Equal(t, "assistant", r.Choices[0].Message.Role)
	assert.Equal(t, whatIsAGateway, r.Choices[0].Message.Content)
	assert.Equal(t, "stop", *r.Choices[0].Finish)
	assert.Equal(t, 53, r.Usage.Completion, "without the end of the text")
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	r := ask(t, s, textPath, object{"model": "demo", "prompt": "A token is", "temperature": 0, "max_tokens": 5})
	assert.True(t, strings.HasPrefix(r.ID, "cmpl-"), r.ID)
	assert.Equal(t, "text_completion", r.Object)
	assert.Equal(t, " a piece of text,", r.Choices[0].Text)
	list := ask(t, s, textPath, object{"model": "demo", "prompt": []string{"A token is"}, "temperature": 0, "max_tokens": 5})
	assert.Equal(t, r.Choices, list.Choices)
	assert.NotEqual(t, r.ID, list.ID)
}

func TestVersionsDiffer(t *testing.T) {
	t.Parallel()
	body := chat(question, object{"temperature": 0})
	v1 := ask(t, newServer(t, demomodel.Config{Version: "v1"}), chatPath, body)
	v2 := ask(t, newServer(t, demomodel.Config{Version: "v2"}), chatPath, body)
	latest := ask(t, newServer(t, demomodel.Config{}), chatPath, body)
	assert.NotEqual(t, v1.Choices, v2.Choices)
	assert.NotEqual(t, v1.Fingerprint, v2.Fingerprint)
	assert.Equal(t, v2.Choices, latest.Choices)
	assert.Equal(t, v2.Fingerprint, latest.Fingerprint)
}

// The versions know the same; v2 writes more.
func TestLaterVersionSaysMore(t *testing.T) {
	t.Parallel()
	v1, v2 := newServer(t, demomodel.Config{Version: "v1"}), newServer(t, demomodel.Config{Version: "v2"})
	for _, content := range []string{
		question, "What is a circuit breaker?", "Why do I get a 429?", "How does streaming work?", "Tell me a joke", "Tell me a story about a fox",
	} {
		body := chat(content, object{"temperature": 0})
		short, long := ask(t, v1, chatPath, body), ask(t, v2, chatPath, body)
		assert.Equal(t, "stop", *short.Choices[0].Finish, content)
		assert.Equal(t, "stop", *long.Choices[0].Finish, content)
		assert.Greater(t, float64(long.Usage.Completion), 1.3*float64(short.Usage.Completion), content)
	}
}

func TestIgnoreEOS(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	const n = 120
	short := ask(t, s, chatPath, chat(question, object{"temperature": 0, "max_tokens": n}))
	assert.Equal(t, "stop", *short.Choices[0].Finish)
	long := ask(t, s, chatPath, chat(question, object{"temperature": 0, "max_tokens": n, "ignore_eos": true}))
	assert.Equal(t, "length", *long.Choices[0].Finish)
	assert.Equal(t, n, long.Usage.Completion)
	assert.True(t, strings.HasPrefix(long.Choices[0].Message.Content, short.Choices[0].Message.Content+" "), "other texts follow")

	all := ask(t, s, chatPath, chat(question, object{"temperature": 0, "max_tokens": short.Usage.Completion}))
	assert.Equal(t, short.Choices[0].Message, all.Choices[0].Message)
	assert.Equal(t, "length", *all.Choices[0].Finish, "the end was not reached")
}

// A message begins a text of its own: it is not continued.
func TestTextIsContinuedAndChatIsNot(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	const begin = "A gateway stands in"
	text := ask(t, s, textPath, object{"model": "demo", "prompt": begin, "temperature": 0})
	assert.True(t, strings.HasPrefix(text.Choices[0].Text, " front of your model servers"), text.Choices[0].Text)
	said, _ := say(t, s, chat(begin, object{"temperature": 0}))
	assert.Regexp(t, "^[A-Z]", said)
}

func TestSeedAndTemperature(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	text := func(fields object) string {
		fields["max_tokens"] = 64
		got, _ := say(t, s, chat("Tell me a story", fields))
		return got
	}
	seeded, unseeded := text(object{"seed": 5}), text(object{})
	assert.Equal(t, seeded, text(object{"seed": 5}))
	assert.NotEqual(t, seeded, text(object{"seed": -5}))
	assert.NotEqual(t, unseeded, text(object{}), "by chance")
	assert.Equal(t, text(object{"temperature": 0}), text(object{"temperature": 0, "seed": 9}))
	assert.Equal(t, text(object{"temperature": 0}), text(object{"temperature": 2, "top_p": 1e-9}))
}

// A generator forgets what it wrote before.
func TestAnswersAreIndependent(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{Slots: 1})
	first, _ := say(t, s, chat(question, object{"seed": 5}))
	say(t, s, chat("Tell me a story", object{"seed": 6, "max_tokens": 150, "ignore_eos": true}))
	again, _ := say(t, s, chat(question, object{"seed": 5}))
	assert.Equal(t, first, again)
}

func TestUsage(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	count := len(bundled(t, "v2").Encode(sample)) + 1 // and the begin of the text
	for _, n := range []int{1, 7, 64} {
		r := ask(t, s, chatPath, chat(sample, object{"max_completion_tokens": n, "ignore_eos": true}))
		assert.Equal(t, count+2, r.Usage.Prompt, "and the marks between the texts")
		assert.Equal(t, n, r.Usage.Completion)
		assert.Equal(t, count+2+n, r.Usage.Total)
	}
	r := ask(t, s, textPath, object{"model": "demo", "prompt": "", "max_tokens": 1})
	assert.Equal(t, 1, r.Usage.Prompt)

	r = ask(t, s, textPath, object{"model": "demo", "prompt": strings.Repeat(sample+"\n", 20), "max_tokens": 1})
	assert.Equal(t, 20*(count-1)+1, r.Usage.Prompt, "more than the context")
}

func TestLongerThanTheContext(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	const n = 200
	body := chat(strings.Repeat("the gateway ", 100), object{"seed": 3, "max_tokens": n, "ignore_eos": true})
	r := ask(t, s, chatPath, body)
	assert.Equal(t, n, r.Usage.Completion)
	text := r.Choices[0].Message.Content
	assert.Greater(t, len(strings.Fields(text)), n/5)
	assert.Greater(t, strings.Count(text, ". "), 2, "sentences follow each other")
	assert.True(t, utf8.ValidString(text))
}

func TestMessages(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	ask1 := func(messages any) reply {
		return ask(t, s, chatPath, object{"model": "demo", "messages": messages, "temperature": 0, "max_tokens": 8})
	}
	plain := ask1([]object{{"role": "user", "content": "What is\na gateway?"}})
	parts := ask1([]object{{"role": "user", "content": []object{{"type": "text", "text": "What  is"}, {"type": "text", "text": "a gateway?"}}}})
	assert.Equal(t, plain.Choices, parts.Choices)
	assert.Equal(t, plain.Usage, parts.Usage)

	longer := ask1([]object{
		{"role": "system", "content": "Be brief."},
		{"role": "assistant", "content": nil},
		{"role": "user", "content": question},
	})
	assert.Greater(t, longer.Usage.Prompt, plain.Usage.Prompt)
}

func TestStop(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	fields := func(stop any) object { return object{"seed": 11, "max_tokens": 24, "ignore_eos": true, "stop": stop} }
	full, finish := say(t, s, chat(question, fields(nil)))
	require.Equal(t, "length", finish)
	for at := 10; at < 40; at += 7 { // wherever tokens begin and end
		word := full[at : at+8]
		want, _, _ := strings.Cut(full, word)
		for _, stop := range []any{word, []string{"never seen", word}} {
			got, finish := say(t, s, chat(question, fields(stop)))
			assert.Equal(t, want, got)
			assert.Equal(t, "stop", finish)
		}
	}
	r := ask(t, s, chatPath, chat(question, fields(full[:3])))
	assert.Empty(t, r.Choices[0].Message.Content)
	assert.Less(t, r.Usage.Completion, 6)
}
