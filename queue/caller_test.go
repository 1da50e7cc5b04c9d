package queue_test

import (
	"net/http"
	"sync"
	"testing"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/stretchr/testify/assert"
)

// Each attempt is an exchange of its own. Its caller is the submitter.
func TestCallsBelongToTheirSubmitter(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen, callers := map[*exchange.Exchange]bool{}, map[uint64]bool{}
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			x := exchange.From(r.Context())
			mu.Lock()
			defer mu.Unlock()
			seen[x], callers[x.Caller] = true, true
		})
	})
	a.Ended(a.Batch(queuetest.Lines(20)))
	mu.Lock()
	defer mu.Unlock()
	assert.Len(t, seen, 20)
	assert.Len(t, callers, 1)
	assert.NotContains(t, callers, uint64(0))
}
