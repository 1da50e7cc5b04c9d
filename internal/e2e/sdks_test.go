package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/testkit/need"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// scene is one request that a program in clients or openai… sends with its SDK.
type scene struct {
	Name, API, Base, Model string
	Stream, Usage          bool
	Extra                  map[string]any `json:",omitempty"`
}

// sdkOutcome is the response as the SDK returned it.
type sdkOutcome struct {
	Text, Finish, Tool string
	Usage              int
	Failed             string // code of a response.failed
	Error              *sdkError
}

type sdkError struct {
	Class   string
	Status  int
	Code    string
	Message string
}

// models are the models of the scripted upstream.
var models = []string{"whole", "pauses", "early", "unmarked", "cut", "late", "tools", "quota", "context", "quota-event", "context-event"}

// scenes returns the scenes of every API. With "early" in the path heartbeats begin before
// the first event.
func scenes(p *process) (all []scene) {
	tools := map[string]any{
		"chat":      map[string]any{"type": "function", "function": map[string]any{"name": "add", "parameters": map[string]any{"type": "object"}}},
		"responses": map[string]any{"type": "function", "name": "add", "parameters": map[string]any{"type": "object"}, "strict": false},
		"messages":  map[string]any{"name": "add", "input_schema": map[string]any{"type": "object"}},
	}
	for api, tool := range tools {
		for _, model := range models {
			s := scene{Name: api + "/" + model, API: api, Base: p.public + "/v1", Model: model, Stream: true}
			switch model {
			case "early":
				s.Base = p.public + "/early/v1"
			case "tools":
				s.Extra = map[string]any{"tools": []any{tool}}
			}
			if model != "unmarked" || api != "responses" { // its last event is the response
				all = append(all, s)
			}
		}
		all = append(all, scene{Name: api + "/json", API: api, Base: p.public + "/v1", Model: "whole"})
	}
	return append(all, scene{Name: "chat/usage", API: "chat", Base: p.public + "/v1", Model: "whole", Stream: true, Usage: true},
		scene{Name: "gemini/whole", API: "gemini", Base: p.public + "/gemini", Model: "whole", Stream: true},
		scene{Name: "gemini/pauses", API: "gemini", Base: p.public + "/gemini", Model: "pauses", Stream: true})
}

// startSDKUpstream runs a gateway in front of the scripts. Each SDK has its own gateway and
// each script its own upstream, so that failures do not affect others.
func startSDKUpstream(t *testing.T, upstream string) *process {
	t.Helper()
	var upstreams, routes []string
	for _, m := range models {
		upstreams = append(upstreams, fmt.Sprintf(`%q: {"endpoints": [{"url": %q}]}`, m, upstream))
		routes = append(routes, fmt.Sprintf(`{"model": %q, "version": "%[1]s-1", "upstream": %[1]q}`, m))
	}
	const group = `{"path": %q, "stream": {"heartbeat": "10ms"}, "proxy": {%s}, "routing": {"table": {"routes": [%s]}}}`
	return start(t, fmt.Sprintf(`{%s, "upstreams": {%s}, "groups": [%s, %s, {"path": "/gemini",
		"stages": ["stream"], "upstream": "whole", "stream": {"heartbeat": "10ms"}, "proxy": {"strip_prefix": true}}]}`, ports, strings.Join(upstreams, ", "),
		fmt.Sprintf(group, "/v1", "", strings.Join(routes, ", ")), fmt.Sprintf(group, "/early/v1", `"prefetch": "10ms"`, strings.Join(routes, ", "))))
}

// run calls a program with the scenes and decodes its output.
func (p *process) run(t *testing.T, dir string, into any, program string, args ...string) {
	t.Helper()
	in, err := json.Marshal(scenes(p))
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TOKEN="+p.token)
	cmd.Stdin = bytes.NewReader(in)
	stderr := &lockedBuffer{}
	cmd.Stderr = stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	require.NoError(t, json.Unmarshal(out, into), "%s", out)
}

// SDKs for Go work, each release in its own module.
func TestSDKsForGo(t *testing.T) {
	t.Parallel()
	for _, module := range []string{"openai112", "openai316", "openainew"} {
		t.Run(module, func(t *testing.T) {
			t.Parallel()
			program := buildSDK(t, module)
			p := startSDKUpstream(t, sdkUpstream(t).URL)
			var got map[string]sdkOutcome
			p.run(t, "", &got, program)
			checkSDK(t, module, got, "chat", "responses")
		})
	}
}

// The programs are copies that differ only in the SDK's release.
func TestSDKProgramsAreCopies(t *testing.T) {
	t.Parallel()
	read := func(module, path string) string {
		b, err := os.ReadFile(filepath.Join(module, "main.go"))
		require.NoError(t, err)
		return strings.NewReplacer(module, "openai", path, "github.com/openai/openai-go").Replace(string(b))
	}
	newest := read("openainew", "github.com/openai/openai-go/v3")
	assert.Equal(t, newest, read("openai316", "github.com/openai/openai-go/v3"))
	assert.Equal(t, newest, read("openai112", "github.com/openai/openai-go"))
}

// buildSDK builds a module's program without downloads. It skips the test when the SDK is
// missing.
func buildSDK(t *testing.T, module string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), module)
	args := []string{"build", "-o", program}
	if module != "openainew" { // which this module has compiled already
		args = append(args, "-gcflags=github.com/openai/openai-go/...=-N -l") // half the time
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, ".")...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOWORK=off", "GOFLAGS=-mod=readonly")
	out, err := cmd.CombinedOutput()
	if err != nil && bytes.Contains(out, []byte("GOPROXY=off")) {
		need.Missing(t, "GINFER_REQUIRE_SDKS", "no SDK: it needs `make sdks`: %s", out)
	}
	require.NoError(t, err, "%s", out)
	return program
}

func TestSDKsForJavaScript(t *testing.T) {
	t.Parallel()
	needClients(t)
	p := startSDKUpstream(t, sdkUpstream(t).URL)
	var got map[string]map[string]sdkOutcome
	p.run(t, "clients", &got, "node", "sdks.mjs")
	checkSDK(t, "openai", got["openai"], "chat", "responses")
	checkSDK(t, "anthropic", got["anthropic"], "messages")
	checkSDK(t, "google", got["google"], "gemini")
	checkSDK(t, "vercel", got["vercel"], "chat", "responses", "messages")
}

// Heartbeats add comments between the events of a slow stream, and nothing else.
func TestHeartbeatsAddOnlyComments(t *testing.T) {
	t.Parallel()
	p := startSDKUpstream(t, sdkUpstream(t).URL)
	for _, s := range scenes(p) {
		if s.Model != "pauses" && s.Model != "early" || s.API == "gemini" {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			api := map[string]struct {
				path    string
				sdkWire *sdkWire
			}{"chat": {"/chat/completions", chatWire()}, "responses": {"/responses", responsesWire()}, "messages": {"/messages", messagesWire()}}[s.API]
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Base+api.path, strings.NewReader(fmt.Sprintf(`{"model": %q, "stream": true}`, s.Model)))
			require.NoError(t, err)
			req.Header.Set("Authorization", "Bearer "+p.token)
			req.Header.Set("Content-Type", "application/json")
			res, err := newClient(t, 0).Do(req)
			require.NoError(t, err)
			defer func() { _ = res.Body.Close() }()
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			events := strings.Join(api.sdkWire.events(api.sdkWire.text, false), "\n\n") + "\n\n"
			var rest strings.Builder
			beats := 0
			for line := range strings.Lines(string(body)) {
				if line == ":\n" {
					beats++
					continue
				}
				rest.WriteString(line)
			}
			assert.Equal(t, events, rest.String())
			assert.Greater(t, beats, 3)
			assert.NotContains(t, string(body), "\n:\n\n", "no event without data")
			assert.Equal(t, s.Model == "early", strings.HasPrefix(string(body), ":\n"))
		})
	}
}
