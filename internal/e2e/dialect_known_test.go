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
		"llama.cpp/proper/{plain|hold|cache|limits|fallback}",
		"{gemini|ollama chat|ollama generate|tgi|cohere}/proper/{cache|limits|fallback}",
		"llama.cpp (no usage)/proper/{plain|limits}",
		"{gemini (blocked prompt)|gemini (thought, then a call)|ollama chat (thinking, then a tool)|cohere (and [DONE])}/proper/limits",
		"{transcription (no usage)|transcription (usage in seconds)}/proper/limits",
	},
	"a missing marker is taken for a cut": {
		"{openai chat|openai completions|openai responses|anthropic messages|transcription}/without marker/{plain|hold|cache|limits|fallback}",
		"{openai chat (CRLF, no space)|openai chat (comments of a relay)|openai chat (no usage)}/without marker/{plain|limits}",
		"{openai chat (reasoning, then tools)|openai chat (two choices)|openai chat (usage with the last choice)}/without marker/{plain|limits}",
		"{openai completions (no usage)|openai completions (vLLM, usage in every chunk)|openai responses (function call)}/without marker/{plain|limits}",
		"{openai responses (incomplete)|openai responses (no usage)|anthropic messages (no usage)}/without marker/{plain|limits}",
		"{anthropic messages (thinking, then a tool)|anthropic messages (usage at the end alone)|transcription (no usage)}/without marker/{plain|limits}",
		"transcription (usage in seconds)/without marker/{plain|limits}",
	},
	"a response that is no SSE or JSON is not prefetched, and a dialect that is not known has begun with any event": {
		"{ollama chat|ollama generate|cohere|speech}/cut before content/{hold|cache|limits|fallback}",
		"{gemini|llama.cpp|tgi}/cut before content/fallback",
	},
	"an end before content is not seen without prefetch, or is charged": {
		"cohere/clean end before content/{plain|hold|cache|limits|fallback}",
		"{openai chat|openai responses|anthropic messages}/clean end before content/{plain|cache|limits|fallback}",
	},
	"the text of the dialect is not known, so that it is charged wrongly": {
		"{gemini|tgi|cohere|transcription|speech events|image events}/cut after content/{cache|limits|fallback}",
	},
	"the end that the dialect owes is not known": {
		"{gemini|ollama chat|ollama generate|tgi|cohere|speech events|image events}/clean end after content/{plain|hold|cache|limits|fallback}",
		"transcription/clean end after content/{cache|limits|fallback}",
		"{gemini (no usage)|gemini (thought, then a call)|ollama chat (no usage)|ollama chat (thinking, then a tool)}/clean end after content/{plain|limits}",
		"{ollama generate (no usage)|tgi (no usage)|cohere (and [DONE])|cohere (no usage)|speech events (no usage)}/clean end after content/{plain|limits}",
		"{transcription (no usage)|transcription (usage in seconds)}/clean end after content/limits",
		"{openai chat JSON|openai chat JSON (no usage)|anthropic messages JSON|embeddings|embeddings (no usage)|images}/clean end after content/plain",
		"images (no usage)/clean end after content/plain",
	},
	"the reason is thrown away, or is not seen without prefetch": {
		"{gemini|llama.cpp|tgi|cohere}/error first, server/{plain|hold|cache|limits|fallback}",
		"{openai chat|openai chat JSON|openai completions|openai responses|anthropic messages|anthropic messages JSON}/error first, server/{plain|hold|cache|limits}",
		"{transcription|speech events|embeddings|images|image events}/error first, server/{plain|hold|cache|limits}",
	},
	"an error of the request opens circuits without prefetch, or is charged": {
		"anthropic messages/error first, request/{plain|cache|limits|fallback}",
		"{openai chat|openai completions|openai responses|gemini|llama.cpp|tgi|transcription|speech events|image events}/error first, request/plain",
	},
	"an error of quota is repeated, thrown away, and opens circuits": {
		"{openai chat|openai completions|openai responses|anthropic messages|gemini|transcription|speech events}/error first, quota/{plain|hold|cache|limits|fallback}",
		"image events/error first, quota/{plain|hold|cache|limits|fallback}",
		"{openai chat JSON|anthropic messages JSON|embeddings|images}/error first, quota/{hold|cache|limits|fallback}",
	},
	"an error of a kind that nobody knows is repeated, thrown away, and opens circuits": {
		"{openai chat|openai completions|openai responses|anthropic messages|gemini|llama.cpp|tgi|transcription}/error first, unknown/{plain|hold|cache|limits|fallback}",
		"{speech events|image events}/error first, unknown/{plain|hold|cache|limits|fallback}",
		"{openai chat JSON|anthropic messages JSON|embeddings|images}/error first, unknown/{hold|cache|limits|fallback}",
		"{ollama chat|ollama generate}/error first, unknown/{cache|limits|fallback}",
	},
	"an error after content is not seen where the text of the dialect is not known": {
		"{gemini|tgi|cohere|speech events|image events}/error late, server/{plain|hold|cache|limits|fallback}",
		"transcription/error late, server/{cache|limits|fallback}",
	},
	"an error of the request opens circuits": {
		"{openai chat|openai completions|openai responses|anthropic messages|llama.cpp|transcription}/error late, request/{plain|hold|cache|limits|fallback}",
		"{gemini|tgi|speech events|image events}/error late, request/{plain|cache|limits|fallback}",
	},
	"an error of a kind that nobody knows opens circuits": {
		"{openai chat|openai completions|openai responses|anthropic messages|llama.cpp|transcription}/error late, unknown/{plain|hold|cache|limits|fallback}",
		"{gemini|tgi|speech events|image events}/error late, unknown/{plain|cache|limits|fallback}",
	},
	"the usage of the second upstream is not read": {
		"{gemini|ollama chat|ollama generate|llama.cpp|tgi|cohere}/status, server/fallback",
	},
	"402 of the credential of the operator does not fall back, or the usage is not read": {
		"{anthropic messages|anthropic messages JSON|gemini|ollama chat|ollama generate|cohere}/status, quota/fallback",
	},
	"nothing at all is success": {
		"{openai chat|openai chat JSON|openai completions|openai responses|anthropic messages|anthropic messages JSON}/empty, by its length/{plain|hold|cache|limits|fallback}",
		"{gemini|ollama chat|ollama generate|llama.cpp|tgi|cohere|transcription|speech|speech events|embeddings|images}/empty, by its length/{plain|hold|cache|limits|fallback}",
		"image events/empty, by its length/{plain|hold|cache|limits|fallback}",
	},
	"nothing at all is success, or is charged": {
		"{openai chat JSON|anthropic messages JSON|ollama chat|ollama generate|speech|embeddings|images}/empty, chunked/{plain|hold|cache|limits|fallback}",
		"{openai chat|openai completions|openai responses|anthropic messages|gemini|llama.cpp|tgi|cohere|speech events}/empty, chunked/{plain|cache|limits|fallback}",
		"image events/empty, chunked/{plain|cache|limits|fallback}",
		"transcription/empty, chunked/plain",
	},
	"white space is success, or is charged": {
		"{openai chat JSON|anthropic messages JSON|ollama chat|ollama generate|embeddings|images}/white space/{plain|hold|cache|limits|fallback}",
		"{openai chat|openai completions|openai responses|anthropic messages|gemini|llama.cpp|tgi|cohere|speech events}/white space/{plain|cache|limits|fallback}",
		"image events/white space/{plain|cache|limits|fallback}",
		"transcription/white space/plain",
	},
}
