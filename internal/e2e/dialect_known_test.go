package e2e_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// knownCells are the cells of the matrix that are known to fail, and why. Each must fail.
func knownCells(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for reason, cells := range dialectKnown {
		for _, pattern := range cells {
			for _, name := range expand(pattern) {
				assert.Empty(t, out[name], "%q is listed twice", name)
				out[name] = reason
			}
		}
	}
	return out
}

// expandAll gives one reason to all names of a pattern.
func expandAll(reason, pattern string) map[string]string {
	out := map[string]string{}
	for _, name := range expand(pattern) {
		out[name] = reason
	}
	return out
}

// expand writes a name with {one|another} in it out.
func expand(pattern string) []string {
	before, behind, found := strings.Cut(pattern, "{")
	if !found {
		return []string{pattern}
	}
	inner, rest, _ := strings.Cut(behind, "}")
	var out []string
	for choice := range strings.SplitSeq(inner, "|") {
		out = append(out, expand(before+choice+rest)...)
	}
	return out
}

// dialectKnown are the cells by reason. {a|b} stands for both.
// dialectKnown are the cells by reason. {a|b} stands for both.
var dialectKnown = map[string][]string{
	"what the dialect says of its finish or its usage is not read": {
		"tgi/proper/cache",
		"tgi/proper/limits",
		"tgi/proper/fallback",
	},
	"a missing marker is taken for a cut": {
		"openai chat/without marker/cache",
		"openai completions/without marker/cache",
		"openai responses/without marker/cache",
		"openai responses/without marker/limits",
		"openai responses/without marker/fallback",
		"anthropic messages/without marker/cache",
		"openai responses (function call)/without marker/limits",
		"openai responses (incomplete)/without marker/limits",
	},
	"a response that is no SSE or JSON is not prefetched, and a dialect that is not known has begun with any event": {
		"tgi/cut before content/fallback",
	},
	"the text of the dialect is not known, so that it is charged wrongly": {
		"speech events/cut after content/cache",
		"speech events/cut after content/limits",
		"speech events/cut after content/fallback",
		"image events/cut after content/cache",
		"image events/cut after content/limits",
		"image events/cut after content/fallback",
	},
	"the end that the dialect owes is not known": {
		"speech events/clean end after content/cache",
		"speech events/clean end after content/limits",
		"speech events/clean end after content/fallback",
		"image events/clean end after content/cache",
		"image events/clean end after content/limits",
		"image events/clean end after content/fallback",
		"speech events (no usage)/clean end after content/limits",
	},
	"the reason is thrown away, or is not seen without prefetch": {
		"tgi/error first, server/fallback",
		"cohere/error first, server/plain",
		"cohere/error first, server/hold",
		"cohere/error first, server/cache",
		"cohere/error first, server/limits",
		"cohere/error first, server/fallback",
	},
	"an error of a kind that nobody knows is repeated, thrown away, and opens circuits": {
		"tgi/error first, unknown/fallback",
	},
	"an error after content is not seen where the text of the dialect is not known": {
		"cohere/error late, server/plain",
		"cohere/error late, server/hold",
		"cohere/error late, server/cache",
		"cohere/error late, server/limits",
		"cohere/error late, server/fallback",
		"speech events/error late, server/cache",
		"speech events/error late, server/limits",
		"speech events/error late, server/fallback",
		"image events/error late, server/cache",
		"image events/error late, server/limits",
		"image events/error late, server/fallback",
	},
	"an error of the request opens circuits": {
		"speech events/error late, request/cache",
		"speech events/error late, request/limits",
		"speech events/error late, request/fallback",
		"image events/error late, request/cache",
		"image events/error late, request/limits",
		"image events/error late, request/fallback",
	},
	"an error of a kind that nobody knows opens circuits": {
		"speech events/error late, unknown/cache",
		"speech events/error late, unknown/limits",
		"speech events/error late, unknown/fallback",
		"image events/error late, unknown/cache",
		"image events/error late, unknown/limits",
		"image events/error late, unknown/fallback",
	},
	"the usage of the second upstream is not read": {
		"tgi/status, server/fallback",
	},
	"nothing at all is success": {
		"tgi/empty, by its length/fallback",
		"speech/empty, by its length/plain",
		"speech/empty, by its length/hold",
		"speech/empty, by its length/cache",
		"speech/empty, by its length/limits",
		"speech/empty, by its length/fallback",
	},
	"nothing at all is success, or is charged": {
		"openai chat JSON/empty, chunked/plain",
		"anthropic messages JSON/empty, chunked/plain",
		"ollama chat/empty, chunked/plain",
		"ollama generate/empty, chunked/plain",
		"speech/empty, chunked/plain",
		"speech/empty, chunked/hold",
		"speech/empty, chunked/cache",
		"speech/empty, chunked/limits",
		"speech/empty, chunked/fallback",
		"embeddings/empty, chunked/plain",
		"images/empty, chunked/plain",
		"openai chat/empty, chunked/plain",
		"openai completions/empty, chunked/plain",
		"openai responses/empty, chunked/plain",
		"anthropic messages/empty, chunked/plain",
		"gemini/empty, chunked/plain",
		"llama.cpp/empty, chunked/plain",
		"tgi/empty, chunked/plain",
		"tgi/empty, chunked/fallback",
		"cohere/empty, chunked/plain",
		"speech events/empty, chunked/plain",
		"image events/empty, chunked/plain",
		"transcription/empty, chunked/plain",
	},
	"white space is success, or is charged": {
		"openai chat JSON/white space/plain",
		"anthropic messages JSON/white space/plain",
		"ollama chat/white space/plain",
		"ollama generate/white space/plain",
		"embeddings/white space/plain",
		"images/white space/plain",
		"openai chat/white space/plain",
		"openai completions/white space/plain",
		"openai responses/white space/plain",
		"anthropic messages/white space/plain",
		"gemini/white space/plain",
		"llama.cpp/white space/plain",
		"tgi/white space/plain",
		"tgi/white space/fallback",
		"cohere/white space/plain",
		"speech events/white space/plain",
		"image events/white space/plain",
		"transcription/white space/plain",
	},
}
