package observe

import (
	"time"

	"github.com/ginfer/ginfer/observe/internal/plain"
)

// RecentRequest is the summary of a request that has ended. Text that others chose is
// truncated and printable, but not escaped for HTML.
type RecentRequest struct {
	Start   time.Time `json:"start"`
	ID      string    `json:"id,omitempty"`
	Trace   string    `json:"trace,omitempty"`
	Method  string    `json:"method"`
	Route   string    `json:"route"`
	Status  int       `json:"status"`
	Outcome string    `json:"outcome"`
	// Error is the code of the error, Reason its text; both are empty after a success.
	Error  string `json:"error,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Caller is the name by RecentConfig.Subject.
	Caller   string `json:"caller,omitempty"`
	Model    string `json:"model,omitempty"`
	Version  string `json:"version,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
	Cache    string `json:"cache,omitempty"`
	Attempts int    `json:"attempts,omitempty"`
	Input    int64  `json:"input_tokens,omitempty"`
	Output   int64  `json:"output_tokens,omitempty"`
	// FirstToken, of streams, and Duration are in milliseconds.
	FirstToken float64 `json:"first_token_ms,omitempty"`
	Duration   float64 `json:"duration_ms"`
}

// Newest returns the latest requests that have ended, the newest first: at most n, and at
// most RecentConfig.Size. Use [Recent.Handler] for more details.
func (rt *Recent) Newest(n int) []RecentRequest {
	rt.mu.Lock()
	kept := rt.latest.newest()
	rt.mu.Unlock()
	kept = kept[:min(max(n, 0), len(kept))]
	out := make([]RecentRequest, len(kept))
	for i := range kept {
		out[i] = rt.brief(&kept[i])
	}
	return out
}

func (rt *Recent) brief(e *entry) RecentRequest {
	out := RecentRequest{
		Start: e.start, ID: e.id, Method: e.method, Route: e.route, Status: e.status, Outcome: e.outcome,
		Model: e.model, Version: e.version, Endpoint: e.endpoint, Cache: e.cache, Attempts: e.attempts,
		FirstToken: milliseconds(e.firstToken()), Duration: milliseconds(e.duration),
	}
	if e.trace.IsValid() {
		out.Trace = e.trace.String()
	}
	if e.outcome != outcomeSuccess {
		out.Error, out.Reason = e.code, e.reason
	}
	if e.caller != nil && rt.cfg.Subject != nil {
		out.Caller = plain.Clean(rt.cfg.Subject(*e.caller), plain.Word)
	}
	if e.usage != nil {
		out.Input, out.Output = e.usage.Input, e.usage.Output
	}
	return out
}
