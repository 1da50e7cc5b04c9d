// Package chart_test renders the Helm chart and checks the manifests.
package chart_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/testkit/need"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

const chart = "../../../deploy/helm/ginfer-gateway"

// manifest has the checked fields of an object.
type manifest struct {
	Kind     string
	Metadata struct {
		Name                string
		Labels, Annotations map[string]string
	}
	Data map[string]string
	Spec any
}

// template runs Helm. Without it the test is skipped, unless GINFER_REQUIRE_DEPLOY=1.
func template(t *testing.T, args ...string) (text string, err error) {
	t.Helper()
	helm, err := exec.LookPath("helm")
	if err != nil {
		need.Missing(t, "GINFER_REQUIRE_DEPLOY", "helm is not installed: make deploy-tools, and $(go env GOPATH)/bin in PATH")
	}
	cmd := exec.CommandContext(t.Context(), helm, append([]string{"template", "gw", chart}, args...)...)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(exit.Stderr), err
	}
	return string(out), err
}

// render returns the chart's objects by kind and name.
func render(t *testing.T, args ...string) map[string]manifest {
	t.Helper()
	text, err := template(t, args...)
	require.NoError(t, err, text)
	out := map[string]manifest{}
	for doc := range strings.SplitSeq("\n"+text, "\n---\n") {
		var m manifest
		require.NoError(t, yaml.Unmarshal([]byte(doc), &m), doc)
		if m.Kind != "" {
			out[m.Kind+" "+m.Metadata.Name] = m
		}
	}
	return out
}

func file(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chart, "files", name))
	require.NoError(t, err)
	return string(text)
}

const (
	dashboard = "ConfigMap gw-gateway-dashboard"
	rules     = "PrometheusRule gw-gateway"
)

// Helm does not expand Grafana's braces and dollars.
func TestDashboard(t *testing.T) {
	t.Parallel()
	all := render(t, "--set", "dashboard.annotations.grafana_folder=AI")
	require.Contains(t, all, dashboard)
	assert.Equal(t, "1", all[dashboard].Metadata.Labels["grafana_dashboard"])
	assert.Equal(t, map[string]string{"grafana_folder": "AI"}, all[dashboard].Metadata.Annotations)
	want := file(t, "dashboard.json")
	require.Contains(t, want, "${datasource}")
	require.Contains(t, want, "{{")
	require.Len(t, all[dashboard].Data, 1)
	assert.JSONEq(t, want, all[dashboard].Data["ginfer-gateway.json"])
	assert.NotContains(t, render(t, "--set", "dashboard.enabled=false"), dashboard)
}

// Helm does not expand Prometheus's braces. The rules are optional.
func TestRules(t *testing.T) {
	t.Parallel()
	all := render(t, "--set", "prometheusRule.enabled=true,prometheusRule.labels.release=prom")
	require.Contains(t, all, rules)
	assert.Equal(t, "prom", all[rules].Metadata.Labels["release"])
	text := file(t, "alerts.yaml")
	require.Contains(t, text, "{{ $labels.")
	var want any
	require.NoError(t, yaml.Unmarshal([]byte(text), &want))
	assert.Equal(t, want, all[rules].Spec)
	assert.NotContains(t, render(t), rules)
}

// The termination grace period of a pod covers the drain of its gateway.
func TestTerminationGrace(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]float64{
		"":                                  135,
		"config.drain.timeout=2m30s":        165,
		"config.drain.timeout=1h":           3615,
		"config.drain.delay=1500ms":         132,
		"config.drain=null":                 40,
		"terminationGracePeriodSeconds=600": 600,
	} {
		spec, _ := render(t, "--set", args)["Deployment gw-gateway"].Spec.(map[string]any)
		pod, _ := spec["template"].(map[string]any)
		pod, _ = pod["spec"].(map[string]any)
		assert.InDelta(t, want, pod["terminationGracePeriodSeconds"], 0, args)
	}
	for args, want := range map[string]string{
		"config.drain.timeout=soon":         `"soon" is not a duration`,
		"terminationGracePeriodSeconds=100": "it takes 135",
	} {
		text, err := template(t, "--set", args)
		require.Error(t, err)
		assert.Contains(t, text, want)
	}
}
