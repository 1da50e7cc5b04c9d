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
	"a missing marker is taken for a cut": {
		"openai responses/without marker/cache",
		"openai responses/without marker/limits",
		"openai responses/without marker/fallback",
		"openai responses (function call)/without marker/limits",
		"openai responses (incomplete)/without marker/limits",
	},
}
