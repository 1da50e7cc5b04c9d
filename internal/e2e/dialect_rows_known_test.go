package e2e_test

import (
	"maps"
	"sync"
)

// rowsKnown are the situations that are known to fail, by reason, as go test names them.
// {a|b} stands for both. Each must fail.
var rowsKnown = map[string][]string{}

// knownRows are all of these names, with the reason.
var knownRows = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	for reason, patterns := range rowsKnown {
		for _, pattern := range patterns {
			maps.Copy(out, expandAll(reason, pattern))
		}
	}
	return out
})
