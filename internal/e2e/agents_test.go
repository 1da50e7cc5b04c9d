package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/need"
	"github.com/stretchr/testify/require"
)

// needAgents skips the test on a machine without the agents.
func needAgents(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join("agents", "node_modules", ".bin", "codex"))
	}
	if err != nil {
		need.Missing(t, "GINFER_REQUIRE_AGENTS", "no agents: they need Node.js and `make agents`: %v", err)
	}
}

// turn is the outcome of one turn of an agent.
type turn struct{ text, failed string }

// anyFailure is expected where the message is the agent's own.
const anyFailure = "*"

// problems compares the turn with an expected failure message; "" expects the whole text.
func (u turn) problems(failure string) (wrong []string) {
	switch {
	case failure == "" && (u.text != "hello" || u.failed != ""):
	case failure == anyFailure && u.failed == "":
	case failure != anyFailure && !strings.Contains(strings.ToLower(u.failed), failure):
	default:
		return nil
	}
	return []string{fmt.Sprintf("want failure %q, got %+v", failure, u)}
}

// runAgent runs an agent for a turn, in an empty home and with no other environment.
func runAgent(t *testing.T, env []string, name string, args ...string) (stdout []byte) {
	t.Helper()
	program, err := filepath.Abs(filepath.Join("agents", "node_modules", ".bin", name))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = t.TempDir()
	home := t.TempDir()
	cmd.Env = append([]string{"HOME=" + home, "CODEX_HOME=" + home, "PATH=" + os.Getenv("PATH")}, env...)
	var log bytes.Buffer
	cmd.Stderr = &log
	stdout, err = cmd.Output()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%v\n%s\n%s", err, stdout, log.String())
		}
	})
	return stdout
}

// runCodex runs OpenAI's agent, which streams the Responses API.
func runCodex(t *testing.T, p *process, prefix, model string) (u turn) {
	t.Helper()
	provider := fmt.Sprintf(`model_providers.gateway={name="gateway", base_url=%q, env_key="TOKEN", wire_api="responses", request_max_retries=0, stream_max_retries=0}`, p.public+prefix+"/v1")
	out := runAgent(t, []string{"TOKEN=" + p.token}, "codex", "exec", "--skip-git-repo-check", "--ephemeral", "--json",
		"-c", "model_provider=gateway", "-c", "model="+model, "-c", provider, "hi")
	for line := range strings.Lines(string(out)) {
		var e struct {
			Item  struct{ Type, Text string }
			Error struct{ Message string } // of turn.failed
		}
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		if e.Item.Type == "agent_message" {
			u.text += e.Item.Text
		}
		u.failed += e.Error.Message
	}
	return u
}

// runClaudeCode runs Anthropic's agent, which streams the Messages API.
func runClaudeCode(t *testing.T, p *process, prefix, model string) turn {
	t.Helper()
	out := runAgent(t, []string{
		"ANTHROPIC_BASE_URL=" + p.public + prefix, "ANTHROPIC_AUTH_TOKEN=" + p.token, "CLAUDE_CODE_MAX_RETRIES=0",
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK=1", "DISABLE_AUTOUPDATER=1",
	}, "claude", "-p", "hi", "--model", model, "--output-format", "json")
	var got struct {
		Result  string
		IsError bool `json:"is_error"`
	}
	require.NoError(t, json.Unmarshal(out, &got), "%s", out)
	if got.IsError {
		return turn{failed: got.Result}
	}
	return turn{text: got.Result}
}

// Agents read whole streams with heartbeats in them, and report each kind of failure.
func TestAgents(t *testing.T) {
	t.Parallel()
	needAgents(t)
	for name, agent := range map[string]struct {
		run      func(t *testing.T, p *process, prefix, model string) turn
		failures map[string]string
	}{
		"codex": {runCodex, map[string]string{
			"whole": "", "pauses": "", "early": "", "cut": anyFailure, "late": "quota exceeded",
			"quota": "quota exceeded", "quota-event": "quota exceeded", "context": "context window", "context-event": "context window",
		}},
		"claude": {runClaudeCode, map[string]string{
			"whole": "", "pauses": "", "early": "", "unmarked": "", "cut": anyFailure, "late": "exceeded your quota",
			"quota": "exceeded your quota", "quota-event": "exceeded your quota", "context": "too long", "context-event": "too long",
		}},
	} {
		p := startSDKUpstream(t, sdkUpstream(t).URL)
		for model, failure := range agent.failures {
			t.Run(name+"/"+model, func(t *testing.T) {
				t.Parallel()
				prefix := map[string]string{"early": "/early"}[model]
				require.Empty(t, agent.run(t, p, prefix, model).problems(failure))
			})
		}
	}
}
