//go:build !race

package auth_test

import (
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/stretchr/testify/assert"
)

// The cost of each request must stay low. (With the race detector sync.Pool drops items at
// random.)
func TestAllocations(t *testing.T) {
	for name, tt := range verifiedRequests(t) {
		verify := testing.AllocsPerRun(100, func() { _, _ = tt.v.Verify(tt.r) })
		assert.Zero(t, verify, "%s: to verify", name)
		authenticate := auth.Middleware(auth.Config{Verifiers: []auth.Verifier{tt.v}})
		through := testing.AllocsPerRun(100, serve(tt.r, authenticate, func(c *gin.Context) {
			subject, err := auth.Subject(c)
			tenant, tenantErr := auth.Tenant(c)
			if err != nil || tenantErr != nil || subject == "" || tenant == "" {
				t.Error("no identity")
			}
		}))
		assert.LessOrEqual(t, through, 4.0, "%s: the exchange, which otherwise the proxy allocates, two context values and their request", name)
	}
}
