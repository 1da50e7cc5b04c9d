package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rolloutPort is an operators' port with a rollout.
func rolloutPort(t *testing.T) string {
	t.Helper()
	canary, err := rollout.New(rollout.Config{Model: "meta/chat", Stable: "v1", Canary: "v2"})
	require.NoError(t, err)
	does := map[string]func(context.Context) error{"pause": canary.Pause, "resume": canary.Resume, "promote": canary.Promote, "rollback": canary.RollBack, "restart": canary.Restart}
	r := gin.New()
	r.UseRawPath = true
	r.GET("/admin/rollouts", func(c *gin.Context) { c.JSON(http.StatusOK, []any{canary.Status()}) })
	r.POST("/admin/rollouts/:name/:action", func(c *gin.Context) {
		assert.Equal(t, "meta/chat:v2", c.Param("name"))
		if err := does[c.Param("action")](c.Request.Context()); err != nil {
			c.JSON(http.StatusConflict, gin.H{"error": gin.H{"code": "not_now", "message": err.Error()}})
			return
		}
		c.JSON(http.StatusOK, canary.Status())
	})
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return s.URL
}

func TestRollouts(t *testing.T) {
	url := rolloutPort(t)
	out, _ := good(t, url, "", "rollouts", "list")
	assert.Regexp(t, `(?m)^meta/chat:v2 +running +1 % +0s +failures 1 of 400 +begun$`, out)
	for _, step := range []struct{ action, want string }{
		{"pause", "meta/chat:v2 paused 1 %"},
		{"resume", "meta/chat:v2 running 1 %"},
		{"promote", "meta/chat:v2 running 5 %"},
		{"rollback", "meta/chat:v2 rolled_back 0 %"},
		{"restart", "meta/chat:v2 running 1 %"},
	} {
		out, _ = good(t, url, "", "rollouts", step.action, "meta/chat:v2")
		assert.Equal(t, step.want+"\n", out)
	}
	_, _, err := call(t, url, "", "rollouts", "restart", "meta/chat:v2")
	require.ErrorContains(t, err, "is running")
}
