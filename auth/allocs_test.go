//go:build !race

package auth_test

import (
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/stretchr/testify/assert"
)

// What is done for each request must stay cheap. (With the race
// detector sync.Pool forgets at random.)
func TestAllocations(t *testing.T) {
	for name, tt := range remembered(t) {
		verify := testing.AllocsPerRun(100, func() { _, _ = tt.v.Verify(tt.r) })
		assert.Zero(t, verify, "%s: to verify", name)
		authenticate := auth.Middleware(auth.Config{Verifiers: []auth.Verifier{tt.v}})
		through := testing.AllocsPerRun(100, serve(tt.r, authenticate, func(c *gin.Context) {
			subject, err := auth.Subject(c)
			tenant, tenantErr := auth.Tenant(c)
			if err != nil || tenantErr != nil || subject == "" || tenant == "" {
				t.Error("nobody")
			}
		}))
		assert.LessOrEqual(t, through, 4.0, "%s: the exchange, which a proxy would make else, two values of the context and the request that has them", name)
	}
}
