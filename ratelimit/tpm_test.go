package ratelimit_test

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/chatter"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
)

// Under 1.5 times its load a token limit is used up and not exceeded, although the lengths of
// responses are unknown in advance.
func TestTokensPerMinute(t *testing.T) {
	t.Parallel()
	const perMinute, burst = 100_000, 100_000 / 6
	for _, overload := range []float64{1, 1.5, 3} {
		synctest.Test(t, func(t *testing.T) {
			load := &chatter.Load{Random: rand.New(rand.NewPCG(1, 2)), Input: 400, Output: 300, Speed: 200 * time.Millisecond}
			h := serve2(tokens(t, ratelimit.TokensConfig{Key: ratelimit.Global, Rate: ratelimit.Per(perMinute, time.Minute), Burst: burst}).Middleware(), load.Serve)
			load.Run([]http.Handler{h}, overload*perMinute/60, 12*time.Minute)
			utilisation := load.Used(2*time.Minute, 12*time.Minute) / (10 * perMinute)
			worst := load.Worst(time.Minute) / perMinute
			t.Logf("offered %v: utilisation %.3f, worst minute %.3f of the limit (limit and burst: %.3f)", overload, utilisation, worst, 1+burst/float64(perMinute))
			if overload == 1.5 {
				assert.GreaterOrEqual(t, utilisation, 0.94)
			}
			assert.LessOrEqual(t, worst, 1+burst/float64(perMinute))
		})
	}
}
