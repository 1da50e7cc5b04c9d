package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/stretchr/testify/require"
)

// A canary that was rolled back while Redis was down stays rolled back after a reload that
// changes its rollout, and when Redis has lost its data.
func TestRolloutStaysRolledBack(t *testing.T) {
	old, canary := newThreeTokenModel(t), newThreeTokenModel(t)
	server := redistest.Start(t)
	config := fmt.Sprintf(rolloutConfig, fmt.Sprintf(`"redis": {"addresses": [%q], "replicas": 1, "timeout": "1s"},`, server.Addr), old.URL, canary.URL)
	slow := strings.Replace(config, `"interval": "200ms"`, `"interval": "1h"`, 1)
	p := start(t, slow)
	server.Kill()
	status, text := p.rolloutAction("rollback")
	require.Equal(t, http.StatusOK, status, text)
	awaitStoreDown(t, p, 1) // it could not be saved; the next attempt is in an hour
	server.Restart()
	require.Eventually(t, func() bool {
		status, _ = p.admin(http.MethodPut, "/admin/config", config, "Content-Type", "application/json")
		return status == http.StatusOK
	}, 10*time.Second, 100*time.Millisecond)
	stays := func() {
		t.Helper()
		require.Eventually(t, func() bool {
			saved, err := server.Do("HGET", "ginfer:rollout:chat/large:new:old:new", "progress")
			return err == nil && strings.Contains(saved, `"state":"rolled_back"`)
		}, 20*time.Second, 20*time.Millisecond, "it is saved")
		require.Equal(t, "rolled_back", p.rollout().State)
		require.Zero(t, p.rollout().Share)
	}
	stays()
	server.MustDo("FLUSHALL")
	stays()
	down := strings.Count(p.stderr.String(), storeDown)
	server.Kill() // it restarts empty
	awaitStoreDown(t, p, down+1)
	server.Restart()
	stays()
	status, text = p.rolloutAction("restart")
	require.Equal(t, http.StatusOK, status, text)
	require.InDelta(t, 0.2, p.rollout().Share, 0)
}

// storeDown is logged when a rollout can't be saved or read.
const storeDown = "rollout: the store does not respond"

func awaitStoreDown(t *testing.T, p *process, times int) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Count(p.stderr.String(), storeDown) >= times }, 20*time.Second, 20*time.Millisecond)
}

// New steps while a canary has 20 % do not promote it to 100 %.
func TestRolloutStepsReloaded(t *testing.T) {
	old, canary := newThreeTokenModel(t), newThreeTokenModel(t)
	dir := t.TempDir()
	config := fmt.Sprintf(rolloutConfig, fmt.Sprintf(`"rollout_dir": %q,`, dir), old.URL, canary.URL)
	config = strings.Replace(config, `"steps": [20, 50, 100], "dwell": "1s"`, `"steps": [1, 5, 20, 100], "dwell": "1h"`, 1)
	p := start(t, config)
	for range 2 {
		status, text := p.rolloutAction("promote")
		require.Equal(t, http.StatusOK, status, text)
	}
	awaitSaved(t, dir, `"step":2`)
	status, text := p.admin(http.MethodPut, "/admin/config", strings.Replace(config, "[1, 5, 20, 100]", "[10, 100]", 1), "Content-Type", "application/json")
	require.Equal(t, http.StatusOK, status, text)
	row := p.rollout()
	require.Equal(t, "running", row.State)
	require.InDelta(t, 0.1, row.Share, 1e-9)
}
