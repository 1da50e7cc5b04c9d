package llm_test

import (
	"testing"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/stretchr/testify/assert"
)

func TestIs(t *testing.T) {
	t.Parallel()
	for contentType, want := range map[string]bool{
		"text/event-stream":                 true,
		"Text/Event-Stream; charset=utf-8":  true,
		" text/event-stream ;charset=utf-8": true,
		"text/event-stream-x":               false,
		"text/plain":                        false,
		"":                                  false,
	} {
		assert.Equal(t, want, llm.IsEventStream(contentType), contentType)
	}
}
