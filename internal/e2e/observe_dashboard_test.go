package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/internal/testkit/need"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/observe/jobs"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// deployed are the files that the Helm chart packages.
const deployed = "../../deploy/helm/ginfer-gateway/files"

// promtool returns the path of Prometheus's tool, of Debian's package prometheus. Without it
// the test is skipped, unless GINFER_REQUIRE_PROMTOOL=1.
func promtool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		need.Missing(t, "GINFER_REQUIRE_PROMTOOL", "promtool is not installed: apt-get install prometheus")
	}
	return path
}

// expressions returns the expressions of the dashboard by panel, and of the alerts by name.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			out[fmt.Sprintf("panel %d %s %s", p.ID, p.Title, target.RefID)] = target.Expr
		}
	}
	text, err := os.ReadFile(filepath.Join(deployed, "alerts.yaml"))
	require.NoError(t, err)
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Record, Expr string }
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &rules))
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			out["rule "+rule.Alert+rule.Record] = rule.Expr
		}
	}
	require.Greater(t, len(out), 80)
	return out
}

type dashboard struct {
	UID        string
	Panels     []dashboardPanel
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
}

type dashboardPanel struct {
	ID      int
	Title   string
	Type    string
	Targets []struct{ RefID, Expr string }
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deployed, "dashboard.json"))
	require.NoError(t, err)
	var d dashboard
	require.NoError(t, json.Unmarshal(text, &d))
	return d
}

// The dashboard is valid for Grafana.
func TestObserveDashboard(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	assert.Equal(t, "ginfer-gateway", d.UID)
	ids := map[int]bool{}
	for _, p := range d.Panels {
		assert.False(t, ids[p.ID], "id %d twice", p.ID)
		ids[p.ID] = true
		assert.NotEmpty(t, p.Title)
		assert.Equal(t, p.Type == "row", len(p.Targets) == 0, p.Title)
	}
	names := map[string]bool{}
	for _, v := range d.Templating.List {
		names[v.Name] = true
	}
	assert.Equal(t, map[string]bool{"datasource": true, "job": true, "route": true}, names)
}

// grafana replaces Grafana's variables.
var grafana = strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$route", ".*")

// Every expression of the dashboard and every rule is valid, and the alerts pass their own
// tests.
func TestObservePromtool(t *testing.T) {
	t.Parallel()
	tool := promtool(t)
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	for name, expr := range expressions(t) {
		rules = append(rules, rule{"test:" + regexp.MustCompile(`\W`).ReplaceAllString(name, "_"), grafana.Replace(expr)})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "test", "rules": rules}}})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	for _, args := range [][]string{
		{"check", "rules", file},
		{"check", "rules", filepath.Join(deployed, "alerts.yaml")},
		{"test", "rules", filepath.Join(deployed, "alerts_test.yaml")},
	} {
		out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput()
		require.NoError(t, err, "%v: %s", args, out)
	}
}

// The parts of expressions and of a scrape.
var (
	clauses   = regexp.MustCompile(`\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	selectors = regexp.MustCompile(`\b((?:http|gen_ai|gateway|go|process)_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	matchers  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	samples   = regexp.MustCompile(`(?m)^([a-z_0-9]+)(?:\{(.*)\})? \S+$`)
	pairs     = regexp.MustCompile(`([a-z_]+)="`)
)

// scraped returns the labels of each metric of a scrape.
func scraped(text string) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for _, m := range samples.FindAllStringSubmatch(text, -1) {
		if out[m[1]] == nil {
			out[m[1]] = map[string]bool{"job": true, "instance": true} // Prometheus adds these
		}
		for _, pair := range pairs.FindAllStringSubmatch(m[2], -1) {
			out[m[1]][pair[1]] = true
		}
	}
	return out
}

// Every metric and label that the dashboard and the alerts name is in a real scrape.
func TestObserveMetricsExist(t *testing.T) {
	t.Parallel()
	o := newObserved(t, observe.TracingConfig{})
	o.produceAllMetrics(t)
	res, err := http.Get(newServer(t, o.telemetry.Handler()).URL)
	require.NoError(t, err)
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	there := scraped(string(text))
	used := map[string]bool{}
	for name, expr := range expressions(t) {
		checkExpression(t, name, grafana.Replace(expr), there, used)
	}
	assertAllShown(t, there, used)
	for _, secret := range []string{o.key, "alice", "acme", "secret"} {
		assert.NotContains(t, string(text), secret)
	}
}

// checkExpression checks that the metrics and labels of an expression exist, and marks the
// metrics as used.
func checkExpression(t *testing.T, name, expr string, there map[string]map[string]bool, used map[string]bool) {
	t.Helper()
	labels := map[string]bool{}
	for _, m := range selectors.FindAllStringSubmatch(clauses.ReplaceAllString(expr, ""), -1) {
		used[m[1]] = true
		if !assert.Contains(t, there, m[1], name) {
			continue
		}
		maps.Copy(labels, there[m[1]])
		for _, label := range matchers.FindAllStringSubmatch(m[2], -1) {
			assert.True(t, there[m[1]][label[1]], "%s: %s has no label %s", name, m[1], label[1])
		}
	}
	for _, m := range clauses.FindAllStringSubmatch(expr, -1) {
		for _, label := range strings.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == ' ' }) {
			assert.True(t, labels[label] || len(labels) == 0, "%s: nothing has the label %s", name, label)
		}
	}
}

// assertAllShown checks that the dashboard or an alert uses every metric of our own.
func assertAllShown(t *testing.T, there map[string]map[string]bool, used map[string]bool) {
	t.Helper()
	for name := range there {
		base := name
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			base = strings.TrimSuffix(base, suffix)
		}
		if !strings.HasPrefix(name, "gateway_") && !strings.HasPrefix(name, "gen_ai_") {
			continue
		}
		shown := used[name] || slices.ContainsFunc([]string{"_bucket", "_sum", "_count"}, func(s string) bool { return used[base+s] })
		assert.True(t, shown, "no panel and no alert uses %s", name)
	}
}

// produceAllMetrics makes every metric appear: by requests, or by the event where it takes an
// outage.
func (o *observed) produceAllMetrics(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	for _, mode := range []string{"", "503 first", "503", "cut"} {
		o.sendAll(t, "json "+mode, jsonChat, "X-Test", mode)
		o.sendAll(t, "stream "+mode, streamChat, "X-Test", mode)
	}
	for range 2 {
		o.sendAll(t, "cached", cacheChat)
	}
	o.sendAll(t, "down", downChat)
	o.sendAll(t, "blind", `{"model":"blind","tools":[{"type":"function","function":{"name":"f"}}],"messages":[]}`)
	o.sendAll(t, "no credential", jsonChat, "Authorization", "")
	for range 21 {
		o.sendAll(t, "limited", unknownChat, "X-Bucket", "full")
		o.sendAll(t, "limited", jsonChat, "X-Bucket", "full")
	}
	require.Eventually(t, func() bool { return strings.Contains(o.log.String(), `"gateway.limit":"rpm"`) }, 5*time.Second, time.Millisecond)

	down := errors.New("down")
	o.hooks.Address(ctx, auth.IPEvent{})
	o.hooks.Keys("op")(ctx, auth.KeysEvent{Err: down})
	o.hooks.Limit("requests")(ctx, ratelimit.Event{Kind: ratelimit.Allowed, Wait: time.Second})
	o.hooks.Limit("requests")(ctx, ratelimit.Event{Kind: ratelimit.Changed, Concurrency: 3})
	o.hooks.Limit("store")(ctx, ratelimit.Event{Kind: ratelimit.StoreDown, Err: down})
	o.hooks.Cache("responses")(ctx, cache.Event{Kind: cache.StoreDown, Err: down})
	o.hooks.Cache("responses")(ctx, cache.Event{Kind: cache.NotStored, Reason: "status"})
	o.hooks.Breaker("v1.2")(t.Context(), breaker.Event{Circuit: "c", To: breaker.Open, Reason: "failures"})
	o.hooks.Balance("v1.2")(ctx, balance.Event{Kind: balance.Unhealthy, Endpoint: "e"})
	o.hooks.Routing(ctx, routing.Event{Kind: routing.Skipped, Version: "v1.2", Lacks: "tools"})
	o.hooks.Routing(ctx, routing.Event{Kind: routing.Mirrored, Version: "v1.3", From: "v1.2", Status: 200})
	o.hooks.Rollout(ctx, rollout.Event{Name: "demo:v1.3", State: rollout.RolledBack, Reason: "failures"})
	o.hooks.Stream(ctx, stream.Event{Heartbeats: 1, Err: stream.ErrSlowClient})
	watch, err := jobs.New(jobs.Config{MeterProvider: o.telemetry.MeterProvider()})
	require.NoError(t, err)
	for _, kind := range []queue.Kind{queue.Queued, queue.Started, queue.Done, queue.Dead, queue.Depth, queue.StoreDown} {
		watch.Event(ctx, queue.Event{Kind: kind, Line: -1, Status: 200})
	}
}
