package config

import (
	"encoding/json"
	"net/http"
	"slices"
)

// The stages of a group that can be switched on and off, in the order in which they run.
const (
	StageIP      = "ip"
	StageAuth    = "auth"
	StageRouting = "routing"
	StageLimits  = "limits"
	StageCache   = "cache"
	StageStream  = "stream"
)

// Group is a set of routes with one chain of stages.
type Group struct {
	// Path is the prefix: "/v1" matches /v1 and everything below it.
	Path string `json:"path"`
	// Methods are the allowed methods. Default: all.
	Methods []string `json:"methods,omitempty"`
	// Stages that are on: ip, auth, routing, limits, cache, stream. Default: auth, stream,
	// and the others where they are configured. They always run in this order.
	Stages []string `json:"stages,omitempty"`
	// IP restricts client addresses.
	IP *IP `json:"ip,omitempty"`
	// CORS lets pages of other origins call from a browser. Default: no other origin.
	CORS *CORS `json:"cors,omitempty"`
	// Scopes that a caller must have, all of them. Default: none.
	Scopes []string `json:"scopes,omitempty"`
	// Limits are the names of the limits that apply here. Default: none.
	Limits []string `json:"limits,omitempty"`
	// Wait lets requests over a request limit wait. Default: they are refused at once.
	Wait *Wait `json:"wait,omitempty"`
	// Concurrency bounds the concurrent requests. Default: unbounded.
	Concurrency *Concurrency `json:"concurrency,omitempty"`
	// Cache serves repeated requests from stored responses. Default: off.
	Cache *Cache `json:"cache,omitempty"`
	// Queue serves /files, /batches and /jobs below the path. Their requests pass this chain with
	// the identity of the submitter. Default: false.
	Queue bool `json:"queue,omitempty"`
	// Upstream serves every request of the group, when routing is off.
	Upstream string `json:"upstream,omitempty"`
	// Routing selects the upstream by a table.
	Routing *Routing `json:"routing,omitempty"`
	// Stream guards streams of server-sent events.
	Stream Stream `json:"stream,omitzero"`
	// Proxy configures how requests are forwarded.
	Proxy Proxy `json:"proxy,omitzero"`
}

// Has reports whether a stage is on.
func (g *Group) Has(stage string) bool { return slices.Contains(g.Stages, stage) }

// Allowed reports whether the group accepts a method.
func (g *Group) Allowed(method string) bool {
	return len(g.Methods) == 0 || slices.Contains(g.Methods, method) || method == http.MethodHead && slices.Contains(g.Methods, http.MethodGet)
}

// Routing is the stage that selects a model version.
type Routing struct {
	// StickyHeader names the user, to keep them on one version. Default: a cookie.
	StickyHeader string `json:"sticky_header,omitempty"`
	// Table is the routing table.
	Table json.RawMessage `json:"table"`
	// Mirror bounds the copies of requests to the mirrors that the table names.
	Mirror *Mirror `json:"mirror,omitempty"`
	// Rollouts shift the weights of two routes of the table according to measurements.
	Rollouts []Rollout `json:"rollouts,omitempty"`
}

// Mirror bounds the mirrored requests; a request beyond the bound is not mirrored.
type Mirror struct {
	// Concurrent is the most mirrored requests at a time. Default: 16.
	Concurrent int `json:"concurrent,omitempty"`
	// Timeout bounds each mirrored request. Default: 1m.
	Timeout Duration `json:"timeout,omitempty"`
}

// Stream is the stage that guards streams.
type Stream struct {
	// Heartbeat is the silence after which a comment is sent. Default: 15s; "off".
	Heartbeat Duration `json:"heartbeat,omitempty"`
	// WriteTimeout bounds one write to a slow client. Default: 10s; "off".
	WriteTimeout Duration `json:"write_timeout,omitempty"`
	// Idle ends a stream after this much silence. Default: 5m; "off".
	Idle Duration `json:"idle,omitempty"`
	// Total ends a stream of this age. Default: off.
	Total Duration `json:"total,omitempty"`
}

// Proxy configures how requests are forwarded.
type Proxy struct {
	// StripPrefix removes the group's path before the request goes upstream. Default: false.
	StripPrefix bool `json:"strip_prefix,omitempty"`
	// MaxBody is the largest request body, in bytes, that stages buffer: to find its model,
	// to estimate its cost, to send it again. Of a longer one the beginning is read and the rest
	// streams. Default: 33554432; -1: bodies stream, unless a stage needs them.
	MaxBody int64 `json:"max_body,omitempty"`
	// Attempts is the most attempts per request. Default: 3; 1: no retries.
	Attempts int `json:"attempts,omitempty"`
	// RetryPosts also retries POST requests that an upstream may have begun to process,
	// which is right for inference and wrong for orders. Default: false.
	RetryPosts bool `json:"retry_posts,omitempty"`
	// Hedge starts a second attempt beside one with a late first token. Default: off.
	Hedge *Hedge `json:"hedge,omitempty"`
	// Connect bounds the time to connect. Default: 5s; "off".
	Connect Duration `json:"connect,omitempty"`
	// FirstByte bounds each attempt until its response header. Default: 2m; "off".
	// Without first_content and prefetch it also bounds each silence of a stream before its content.
	FirstByte Duration `json:"first_byte,omitempty"`
	// FirstContent bounds each attempt of a call that generates text until its first content; comments
	// and white space do not count. Default: 5m; "off".
	FirstContent Duration `json:"first_content,omitempty"`
	// Prefetch is how long a response may be buffered until it has content, so that one which fails
	// before can be replaced. After that it passes as it is, and heartbeats with it. Default: until
	// first_content; "off".
	Prefetch Duration `json:"prefetch,omitempty"`
	// Idle bounds each wait for the next bytes of a response, of any kind. Default: 5m; "off".
	Idle Duration `json:"idle,omitempty"`
	// Stall ends a stream of text that pauses ten times longer than it usually does, and at least
	// this long; not where tools, searches or code are at work. Default: 1m; "off".
	Stall Duration `json:"stall,omitempty"`
	// Total bounds the whole response. Default: 1h; "off".
	Total Duration `json:"total,omitempty"`
	// Tunnel bounds the silence of an upgraded connection. Default: 1h; "off".
	Tunnel Duration `json:"tunnel,omitempty"`
}

// Hedge configures when a second attempt is started. It needs retry_posts.
type Hedge struct {
	// Ratio is the most second attempts per request. Default: 0.05.
	Ratio float64 `json:"ratio,omitempty"`
	// Quantile of the recent times to first token after which an attempt is late. Default: 0.95.
	Quantile float64 `json:"quantile,omitempty"`
}
