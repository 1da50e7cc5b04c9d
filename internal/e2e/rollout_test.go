package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// threeTokenModel streams three tokens after a pause, and cuts every breakEvery-th stream.
type threeTokenModel struct {
	*httptest.Server

	calls      atomic.Int64
	breakEvery atomic.Int64 // 0: none
	pause      atomic.Int64 // before the first token
}

func newThreeTokenModel(t *testing.T) *threeTokenModel {
	t.Helper()
	m := new(threeTokenModel)
	m.Server = newServer(t, m)
	return m
}

func (m *threeTokenModel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, every := m.calls.Add(1), m.breakEvery.Load()
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/event-stream")
	time.Sleep(time.Duration(m.pause.Load()))
	for range 3 {
		_, _ = io.WriteString(w, `data: {"choices":[{"index":0,"delta":{"content":"a"}}]}`+"\n\n")
		_ = http.NewResponseController(w).Flush()
	}
	if every > 0 && n%every == 0 {
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(w, "data: [DONE]\n\n")
}

const rolloutConfig = `{` + ports + `, %s
	"upstreams": {
		"old": {"endpoints": [{"url": %q}], "breaker": {"off": true}},
		"new": {"endpoints": [{"url": %q}], "breaker": {"off": true}}
	},
	"groups": [{"path": "/v1", "stages": ["routing", "stream"], "routing": {
		"sticky_header": "X-User-Id",
		"table": {"salt": "e2e", "routes": [
			{"model": "chat/large", "version": "old", "weight": 1},
			{"model": "chat/large", "version": "new", "weight": 1, "fallback": ["old"]}
		]},
		"rollouts": [{"model": "chat/large", "stable": "old", "canary": "new", "steps": [20, 50, 100], "dwell": "1s", "interval": "200ms", "min_users": 50, "tolerance": 0.2, "risk": 0.02}]
	}}]}`

type rolloutRow struct {
	Group, Name, State, Reason string
	Step                       int
	Share                      float64
	Checks                     []struct {
		Name      string  `json:"name"`
		Stable    int     `json:"stable_keys"`
		StableBad int     `json:"stable_bad"`
		Canary    int     `json:"canary_keys"`
		CanaryBad int     `json:"canary_bad"`
		Evidence  float64 `json:"evidence"`
	}
}

func (p *process) rollout() rolloutRow {
	p.t.Helper()
	status, text := p.admin(http.MethodGet, "/admin/rollouts", "")
	require.Equal(p.t, http.StatusOK, status, text)
	var rows []rolloutRow
	require.NoError(p.t, json.Unmarshal([]byte(text), &rows))
	require.Len(p.t, rows, 1)
	return rows[0]
}

// rolloutAction sends an operator's action.
func (p *process) rolloutAction(action string) (int, string) {
	p.t.Helper()
	return p.admin(http.MethodPost, "/admin/rollouts/"+url.PathEscape("chat/large:new")+"/"+action, "")
}

// sendAsUsers requests a stream for each of n users and returns their versions.
func (p *process) sendAsUsers(from, n int) map[string]string {
	p.t.Helper()
	versions, mu := make(map[string]string, n), sync.Mutex{}
	var wg sync.WaitGroup
	work := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range work {
				user := strconv.Itoa(i)
				req, _ := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.public+"/v1/chat/completions", strings.NewReader(`{"model":"chat/large","stream":true}`))
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("X-User-Id", user)
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					p.t.Error(err)
					continue
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				mu.Lock()
				versions[user] = res.Header.Get("X-Model-Version")
				mu.Unlock()
			}
		})
	}
	for i := range n {
		work <- from + i
	}
	close(work)
	wg.Wait()
	return versions
}

// A good version gets all users step by step, and none of them loses it on the way. A reload
// does not restart the rollout.
func TestRolloutToItsEnd(t *testing.T) {
	old, canary := newThreeTokenModel(t), newThreeTokenModel(t)
	config := fmt.Sprintf(rolloutConfig, fmt.Sprintf(`"rollout_dir": %q,`, t.TempDir()), old.URL, canary.URL)
	p := start(t, config)
	hadNew := map[string]bool{}
	follow := func() {
		for user, version := range p.sendAsUsers(0, 200) {
			assert.False(t, hadNew[user] && version == "old", "user %s lost the new version", user)
			hadNew[user] = hadNew[user] || version == "new"
		}
	}
	follow()
	require.Equal(t, rolloutRow{Group: "/v1", Name: "chat/large:new", State: "running", Reason: "begun", Share: 0.2}, withoutChecks(p.rollout()))
	next := 1000
	deadline := time.Now().Add(time.Minute)
	for p.rollout().State == "running" && time.Now().Before(deadline) {
		if !strings.Contains(config, `"idle"`) { // reloaded on the way
			config = strings.Replace(config, `"stages"`, `"stream": {"idle": "4m"}, "stages"`, 1)
			p.write(config)
		}
		p.sendAsUsers(next, 400)
		next += 400
		follow()
	}
	row := p.rollout()
	require.Equal(t, "done", row.State, "%+v", row)
	for _, version := range p.sendAsUsers(0, 50) {
		require.Equal(t, "new", version)
	}
	_, metrics := p.admin(http.MethodGet, "/metrics", "")
	require.Contains(t, metrics, `gateway_rollout_share{gateway_rollout="chat/large:new"`)
	require.Regexp(t, `gateway_rollout_evidence\{gateway_rollout="chat/large:new",gateway_rollout_check="failures"`, metrics)
	require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "configuration reloaded") }, patience, 10*time.Millisecond)
	require.Contains(t, p.stderr.String(), `"msg":"rollout done"`)
}

func withoutChecks(r rolloutRow) rolloutRow {
	r.Checks = nil
	return r
}

// A version with streams cut after their first token is rolled back, although each began
// with status 200, and stays so after a restart until an operator acts.
func TestRolloutRollsBack(t *testing.T) {
	old, canary := newThreeTokenModel(t), newThreeTokenModel(t)
	canary.breakEvery.Store(3)
	dir := filepath.Join(t.TempDir(), "r")
	config := fmt.Sprintf(rolloutConfig, fmt.Sprintf(`"rollout_dir": %q,`, dir), old.URL, canary.URL)
	p := start(t, config)
	users := 0
	for ; users < 2000 && p.rollout().State == "running"; users += 40 {
		p.sendAsUsers(users, 40)
	}
	row := p.rollout()
	require.Equal(t, "rolled_back", row.State, "%+v", row)
	require.Contains(t, row.Reason, "failures: ")
	t.Logf("after %d users: %s", users, row.Reason)
	for _, version := range p.sendAsUsers(0, 50) {
		require.Equal(t, "old", version)
	}
	require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), `"msg":"rollout rolled_back"`) }, 5*time.Second, 10*time.Millisecond)
	awaitSaved(t, dir, `"state":"rolled_back"`) // asynchronously
	p.signal(syscall.SIGKILL)
	p.wait()

	p = start(t, config)
	require.Equal(t, "rolled_back", p.rollout().State)
	status, text := p.rolloutAction("promote")
	require.Equal(t, http.StatusConflict, status, text)
	status, text = p.rolloutAction("nonsense")
	require.Equal(t, http.StatusNotFound, status, text)
	status, text = p.rolloutAction("restart")
	require.Equal(t, http.StatusOK, status, text)
	require.InDelta(t, 0.2, p.rollout().Share, 0)
}

// awaitSaved waits until the only rollout of a folder is saved with text in it.
func awaitSaved(t *testing.T, dir, text string) {
	t.Helper()
	require.Eventually(t, func() bool {
		files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
		if len(files) != 1 {
			return false
		}
		saved, _ := os.ReadFile(files[0])
		return strings.Contains(string(saved), text)
	}, 10*time.Second, 10*time.Millisecond, text)
}

// Feedback of users counts: two of three reject the new version.
func TestRolloutFeedback(t *testing.T) {
	old, canary := newThreeTokenModel(t), newThreeTokenModel(t)
	p := start(t, fmt.Sprintf(rolloutConfig, fmt.Sprintf(`"rollout_dir": %q,`, t.TempDir()), old.URL, canary.URL))
	say := func(user, body string) (int, string) {
		res, text := p.send(http.DefaultClient, http.MethodPost, p.public+"/v1/feedback", body, "Content-Type", "application/json", "X-User-Id", user)
		return res.StatusCode, text
	}
	status, text := say("1", `{"model":"chat/large"}`)
	require.Equal(t, http.StatusBadRequest, status, text)
	status, text = p.rolloutAction("pause")
	require.Equal(t, http.StatusOK, status, text)
	i := 0
	for user, version := range p.sendAsUsers(0, 300) {
		if i++; p.rollout().State != "paused" {
			break
		}
		status, text := say(user, fmt.Sprintf(`{"model":"chat/large","good":%t}`, version == "old" || i%3 == 0))
		require.Equal(t, http.StatusOK, status, text)
		require.JSONEq(t, `{"counted":true}`, text)
	}
	row := p.rollout()
	require.Equal(t, "rolled_back", row.State, "%+v", row)
	require.Contains(t, row.Reason, "quality: ")
}

// Two gateways with one Redis are at the same step.
func TestRolloutOfTwoGateways(t *testing.T) {
	old, canary := newThreeTokenModel(t), newThreeTokenModel(t)
	server := redistest.Start(t)
	config := fmt.Sprintf(rolloutConfig, fmt.Sprintf(`"redis": {"addresses": [%q], "replicas": 2, "timeout": "1s"},`, server.Addr), old.URL, canary.URL)
	config = strings.Replace(config, `"dwell": "1s"`, `"dwell": "1h"`, 1)
	one, two := start(t, config), start(t, config)
	status, text := one.rolloutAction("promote")
	require.Equal(t, http.StatusOK, status, text)
	require.Eventually(t, func() bool { return two.rollout().Step == 1 }, 20*time.Second, 100*time.Millisecond)
	require.Equal(t, one.sendAsUsers(0, 100), two.sendAsUsers(0, 100))
	status, text = two.rolloutAction("rollback")
	require.Equal(t, http.StatusOK, status, text)
	require.Eventually(t, func() bool { return one.rollout().State == "rolled_back" }, 20*time.Second, 100*time.Millisecond)
}

// A rollout that does not fit its table is refused with its path in the configuration.
func TestRolloutConfig(t *testing.T) {
	p := start(t, fmt.Sprintf(rolloutConfig, fmt.Sprintf(`"rollout_dir": %q,`, t.TempDir()), "http://127.0.0.1:1", "http://127.0.0.1:1"))
	bad := strings.Replace(p.rolloutFile(), `"canary": "new"`, `"canary": "newer", "slow": 0.5`, 1)
	status, text := p.admin(http.MethodPut, "/admin/config", bad, "Content-Type", "application/json")
	require.Equal(t, http.StatusUnprocessableEntity, status)
	require.Contains(t, text, "groups[0].routing.rollouts[0]: slow: 0.5")
	bad = strings.Replace(p.rolloutFile(), `"canary": "new"`, `"canary": "newer"`, 1)
	status, text = p.admin(http.MethodPut, "/admin/config", bad, "Content-Type", "application/json")
	require.Equal(t, http.StatusUnprocessableEntity, status)
	require.Contains(t, text, `no route of model \"chat/large\" gives version \"newer\" a weight`)
	require.Equal(t, "running", p.rollout().State)
}

// A change of the rollout store migrates the state: a rollback stays.
func TestRolloutMoves(t *testing.T) {
	config := func(where string) string {
		return fmt.Sprintf(rolloutConfig, where, "http://127.0.0.1:1", "http://127.0.0.1:1")
	}
	p := start(t, config(fmt.Sprintf(`"rollout_dir": %q,`, t.TempDir())))
	status, text := p.rolloutAction("promote")
	require.Equal(t, http.StatusOK, status, text)
	status, text = p.rolloutAction("rollback")
	require.Equal(t, http.StatusOK, status, text)
	before := p.rollout()
	server := redistest.Start(t)
	for _, where := range []string{fmt.Sprintf(`"rollout_dir": %q,`, t.TempDir()), fmt.Sprintf(`"redis": {"addresses": [%q], "replicas": 1, "timeout": "1s"},`, server.Addr)} {
		_, revision := p.admin(http.MethodGet, "/admin/routes", "")
		p.write(config(where))
		require.Eventually(t, func() bool {
			_, now := p.admin(http.MethodGet, "/admin/routes", "")
			return now != revision
		}, 20*time.Second, 20*time.Millisecond)
		after := p.rollout()
		require.Equal(t, "rolled_back", after.State)
		require.Equal(t, before.Reason, after.Reason)
		require.Zero(t, after.Share)
	}
	status, text = p.rolloutAction("restart")
	require.Equal(t, http.StatusOK, status, text)
	require.Equal(t, "running", p.rollout().State)
}

// rolloutFile is the configuration in force.
func (p *process) rolloutFile() string {
	_, text := p.admin(http.MethodGet, "/admin/config", "")
	return text
}
