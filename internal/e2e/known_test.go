package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

// knownFailures are the cases that fail today, by reason, under the names that go test
// prints. {a|b} stands for both. Each must fail: a case that passes leaves the list.
var knownFailures = map[string][]string{
	"a missing marker is taken for a cut": {
		"TestDialectMatrix/openai_responses/without_marker/{cache|limits|fallback}",
		"TestDialectMatrix/openai_responses/_({function_call|incomplete})/without_marker/limits",
	},
	"the clients themselves take a stream without message_stop for a cut, though it passes unchanged": {
		"TestSDKsForJavaScript/{anthropic|vercel}/messages/unmarked",
	},
}

// knownReasons has the reason of each known failure, by the full name of the test.
var knownReasons = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	for reason, patterns := range knownFailures {
		for _, pattern := range patterns {
			for _, name := range expand(pattern) {
				out[name] = reason
			}
		}
	}
	return out
})

// expand returns the names that a pattern with {one|another} in it stands for.
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

// checkedCases has the names of all cases that called expectNone.
var checkedCases sync.Map

// expectNone fails the test for every problem. It skips a known failure, and fails when a
// known failure has no problems.
func expectNone(t *testing.T, problems []string) {
	t.Helper()
	checkedCases.Store(t.Name(), true)
	switch reason := knownReasons()[t.Name()]; {
	case reason != "" && len(problems) == 0:
		t.Errorf("it passes: remove it from knownFailures (%q)", reason)
	case reason != "":
		t.Skipf("known failure: %s", reason)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

// reportStale prints the known failures of tests that ran without a case of that name,
// and reports whether there are any. It is meaningful only after a run without -run.
func reportStale() (stale bool) {
	ran := map[string]bool{}
	checkedCases.Range(func(name, _ any) bool {
		test, _, _ := strings.Cut(name.(string), "/") //nolint:forcetypeassert // only strings are stored
		ran[test] = true
		return true
	})
	for name := range knownReasons() {
		test, _, _ := strings.Cut(name, "/")
		if _, checked := checkedCases.Load(name); ran[test] && !checked {
			fmt.Fprintf(os.Stderr, "knownFailures: there is no case %s\n", name)
			stale = true
		}
	}
	return stale
}

// findings collects the failures of assertions, for expectNone.
type findings struct{ problems []string }

// Errorf implements assert.TestingT.
func (v *findings) Errorf(format string, args ...any) {
	v.problems = append(v.problems, fmt.Sprintf(format, args...))
}

// noError adds an unexpected error.
func (v *findings) noError(err error) {
	if err != nil {
		v.Errorf("error: %v", err)
	}
}

// broken adds a response that is not visibly broken.
func (v *findings) broken(got dialectResponse) {
	if got.err == nil {
		v.Errorf("it ends as if it were whole: %.300q", got.body)
	}
}

// same compares long texts without printing them.
func (v *findings) same(want, got string) {
	if want != got {
		v.Errorf("%d bytes differ from the %d bytes that were sent", len(got), len(want))
	}
}
