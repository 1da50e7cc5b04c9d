package cache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/require"
)

// words is a Semantic that compares the words of prompts.
type words struct {
	mu   sync.Mutex
	keys map[string]string
	err  error
	any  bool // finds entries of other partitions too
}

func bag(q cache.Query) string {
	text := strings.ToLower(string(q.Prompt))
	return q.Partition + " " + strings.Join(strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(` ,.?!"{}[]:`, r) }), " ")
}

func (w *words) Find(_ context.Context, q cache.Query) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.any {
		for _, key := range w.keys {
			return key, nil
		}
	}
	return w.keys[bag(q)], w.err
}

func (w *words) Add(_ context.Context, q cache.Query, key string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.keys == nil {
		w.keys = map[string]string{}
	}
	w.keys[bag(q)] = key
	return w.err
}

func TestSemantic(t *testing.T) {
	t.Parallel()
	send := func(text string) string { return strings.Replace(chatPlain, "Hi", text, 1) }
	w := &words{}
	u, l := responds(200, chatJSON, "Content-Type", jsonType), &log{}
	c := newCache(t, cache.Config{Semantic: w, OnEvent: l.On})
	r := app(c, u.serve)
	post(r, send("How are you?"))
	again := post(r, send("how are you"))
	require.Contains(t, status(again), "; hit")
	require.Contains(t, status(again), "detail=semantic")
	require.EqualValues(t, 1, u.calls.Load())
	require.False(t, isHit(r, send("Who are you?")))
	require.False(t, isHit(r, send("HOW are you"), "Authorization", "Bearer bob"), "another scope")
	require.False(t, isHit(r, strings.Replace(send("hOw are you"), "{", `{"seed":1,`, 1)), "another parameter")
	require.NoError(t, c.Purge(t.Context(), cache.ByModel("m")))
	require.False(t, isHit(r, send("how ARE you")), "purged")

	w.err = errors.New("the index is down")
	require.False(t, isHit(r, send("how are YOU now")))
	require.True(t, isHit(r, send("how are YOU now")), "the same request is a hit without it")
	require.Len(t, l.of(cache.Failed), 2)
}

// Whatever a Semantic finds, the entry is of the same partition.
func TestSemanticThatIsWrong(t *testing.T) {
	t.Parallel()
	w := &words{any: true}
	r := app(newCache(t, cache.Config{Semantic: w}), responds(200, chatJSON, "Content-Type", jsonType).serve)
	post(r, chatPlain)
	require.True(t, isHit(r, strings.Replace(chatPlain, "Hi", "Bye", 1)), "the Semantic found it")
	require.False(t, isHit(r, chatPlain, "Authorization", "Bearer bob"))
	require.False(t, isHit(r, ofModel("n")))
}

func ExampleSemantic() {
	responses, err := cache.New(cache.Config{Shared: true, Semantic: &words{}})
	if err != nil {
		panic(err)
	}
	r := gin.New()
	r.POST("/v1/chat/completions", responses.Middleware(), func(c *gin.Context) {
		c.JSON(200, gin.H{"choices": []gin.H{{"message": gin.H{"role": "assistant", "content": "Paris."}, "finish_reason": "stop"}}})
	})
	for _, question := range []string{"What is the capital of France?", "what is the capital of france", "What is the capital of Spain?"} {
		w := post(r, strings.Replace(chatPlain, "Hi", question, 1))
		fmt.Println(strings.Contains(status(w), "; hit"))
	}
	// Output:
	// false
	// true
	// false
}
