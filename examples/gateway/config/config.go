package main

import (
	"encoding/json"
	"fmt"
	"time"
)

// Config is the whole gateway. Everything in it may change while the gateway
// runs, except the two addresses.
type Config struct {
	// Schema lets editors check the file; the gateway does not read it.
	Schema string `json:"$schema,omitempty"`
	// Public is where clients come in.
	Public Public `json:"public,omitzero"`
	// Private is for operators: health, admin, profiles. Keep it off the internet.
	Private Private `json:"private,omitzero"`
	// Drain says how the gateway ends.
	Drain Drain `json:"drain,omitzero"`
	// Log says what is written of each request.
	Log Log `json:"log,omitzero"`
	// Memory says how the garbage collector works.
	Memory Memory `json:"memory,omitzero"`
	// TrustedProxies are the CIDR ranges whose X-Forwarded-* headers are believed. Default none.
	TrustedProxies []string `json:"trusted_proxies,omitempty"`
	// Upstreams are pools of servers by name. Without any, the two versions of
	// the demo model run inside the gateway, as "v1.2" and "v1.3".
	Upstreams map[string]Upstream `json:"upstreams,omitempty"`
	// Auth says how callers are known.
	Auth Auth `json:"auth,omitzero"`
	// Redis is where replicas share their limits. Without it each counts for itself.
	Redis *Redis `json:"redis,omitempty"`
	// Limits by name, for groups to name.
	Limits map[string]Limit `json:"limits,omitempty"`
	// CacheStore bounds what the groups' caches keep.
	CacheStore *CacheStore `json:"cache_store,omitempty"`
	// RolloutDir is the folder that remembers how far rollouts are, unless Redis does. It is
	// made when a rollout changes. Default rollouts.
	RolloutDir string `json:"rollout_dir,omitempty"`
	// Queue takes batches and jobs, for the groups that say so. Default: there is none.
	Queue *Queue `json:"queue,omitempty"`
	// Groups are route groups; the one with the longest matching path takes a request.
	Groups []Group `json:"groups"`
}

// Public is the port for clients.
type Public struct {
	// Address to listen on. Default 127.0.0.1:8080.
	Address string `json:"address,omitempty"`
	// TLS, when set, serves HTTPS and HTTP/2. The files are reloaded when they change.
	TLS *TLS `json:"tls,omitempty"`
	// H2C also accepts HTTP/2 without TLS, from a load balancer that speaks it. Default false.
	H2C bool `json:"h2c,omitempty"`
	// HeaderTimeout bounds the arrival of a request's head. Default 10s.
	HeaderTimeout Duration `json:"header_timeout,omitempty"`
	// IdleTimeout closes connections without a request. Default 2m.
	IdleTimeout Duration `json:"idle_timeout,omitempty"`
	// MaxHeaderBytes bounds a request's head. Default 65536.
	MaxHeaderBytes int `json:"max_header_bytes,omitempty"`
	// MaxConnections bounds open connections; more wait to be accepted. Default 20000.
	MaxConnections int `json:"max_connections,omitempty"`
	// MaxStreams bounds the requests under way on one HTTP/2 connection. Default 100.
	MaxStreams int `json:"max_streams,omitempty"`
}

// TLS names certificate and key, in PEM.
type TLS struct {
	// Cert is the file of the certificate chain.
	Cert string `json:"cert"`
	// Key is the file of its private key.
	Key string `json:"key"`
	// ClientCA is the file of the authorities whose client certificates are believed, on the public
	// port by the stage auth.
	ClientCA string `json:"client_ca,omitempty"`
}

// Private is the port for operators.
type Private struct {
	// Address to listen on. Default 127.0.0.1:9090.
	Address string `json:"address,omitempty"`
	// TLS, when set, serves HTTPS. With client_ca nobody is served without a certificate of it.
	TLS *TLS `json:"tls,omitempty"`
	// Hosts are names by which it may be asked for. Addresses, names without a dot, and those
	// of a cluster (.svc, .cluster.local, .internal) always may. Others are refused: a site
	// whose name suddenly means this machine could read and change everything by its readers'
	// browsers. Default none.
	Hosts []string `json:"hosts,omitempty"`
	// ContentionProfiles samples where goroutines wait, for the block and mutex profiles. It costs
	// some speed. Default false.
	ContentionProfiles bool `json:"contention_profiles,omitempty"`
}

// Drain is what happens between SIGTERM and the end.
type Drain struct {
	// Delay is how long readiness fails before the port closes, so that load balancers notice. Default 0s.
	Delay Duration `json:"delay,omitempty"`
	// Timeout is how long open requests and streams may go on after that. Default 30s.
	Timeout Duration `json:"timeout,omitempty"`
}

// Log is what is written of each request: one line, when it has ended, without prompts,
// secrets and query strings.
type Log struct {
	// Sample has one in so many successes written; all else always is. Default 1: all; -1: none.
	Sample int `json:"sample,omitempty"`
	// Slow is how long a success may take before it is always written. Default 10s; "off".
	Slow Duration `json:"slow,omitempty"`
	// Pseudonyms is a key by which callers' names are hidden: "${LOG_KEY}". Default: they are written.
	Pseudonyms string `json:"pseudonyms,omitempty"`
	// Path also writes paths, which may be personal. Default false.
	Path bool `json:"path,omitempty"`
}

// Memory is how the garbage collector works. The variables GOMEMLIMIT and GOGC, where they
// are set, count instead.
type Memory struct {
	// LimitPercent of what the container may use is the soft limit. Default 90; -1: none.
	LimitPercent int `json:"limit_percent,omitempty"`
	// GOGC is how much the heap may grow between collections, in per cent. Default 100; -1: off, which
	// needs a limit.
	GOGC int `json:"gogc,omitempty"`
	// BodyBudget is how many bytes of request bodies may be held at a time. A request beyond it
	// gets 503. Default a quarter of the memory limit, at least 268435456.
	BodyBudget int64 `json:"body_budget,omitempty"`
	// BodyShare is the part of BodyBudget that one caller may have, and all callers together that
	// are not authenticated. Default 0.25.
	BodyShare float64 `json:"body_share,omitempty"`
}

// Upstream is a pool of servers that serve the same.
type Upstream struct {
	// Endpoints are the servers.
	Endpoints []Endpoint `json:"endpoints"`
	// Policy is least_request (default); cadence, which sees how fast each server's streams get their
	// tokens; conversations, which keeps the turns of a chat on the server that has it in its prefix
	// cache; round_robin; or hash.
	Policy string `json:"policy,omitempty"`
	// Hash says by what the hash policy keeps requests together.
	Hash *Hash `json:"hash,omitempty"`
	// Health is the active health check. Without it only passive ejection watches the endpoints.
	Health *Health `json:"health,omitempty"`
	// Breaker keeps requests from endpoints that fail. Default: on, with its defaults.
	Breaker Breaker `json:"breaker,omitzero"`
	// SlowStart is over how long a new or recovered endpoint gets its full share. Default 0s: at once.
	SlowStart Duration `json:"slow_start,omitempty"`
	// Protocol is "" (HTTP/1.1, over TLS also HTTP/2), http1, http2 or h2c.
	Protocol string `json:"protocol,omitempty"`
	// CAFile, CertFile and KeyFile are for TLS to the endpoints (PEM).
	CAFile   string `json:"ca_file,omitempty"`
	CertFile string `json:"cert_file,omitempty"`
	KeyFile  string `json:"key_file,omitempty"`
	// Headers are set on every request to this pool, in place of the client's.
	// ${NAME} stands for an environment variable: {"Authorization": "Bearer ${OPENAI_API_KEY}"}.
	Headers map[string]string `json:"headers,omitempty"`
	// NoInject leaves requests for streams as the client wrote them. By default completions are
	// made to ask for usage, which is taken out again for clients that did not ask; an upstream
	// that refuses that is asked again without. Default false.
	NoInject bool `json:"no_inject,omitempty"`
}

// Endpoint is one server.
type Endpoint struct {
	// URL is its base: https://host:port/path.
	URL string `json:"url"`
	// Weight is its share. Default 1.
	Weight int `json:"weight,omitempty"`
}

// Hash is where the key of the hash policy comes from: exactly one of the first three.
type Hash struct {
	// Header is the name of a request header.
	Header string `json:"header,omitempty"`
	// Body is the name of a top-level field of the JSON body, a string.
	Body string `json:"body,omitempty"`
	// Subject is the caller, as the auth stage knows it.
	Subject bool `json:"subject,omitempty"`
	// Algorithm is ring (default), rendezvous or maglev.
	Algorithm string `json:"algorithm,omitempty"`
}

// Breaker says when the circuit of an endpoint opens, and how it closes. Volume, FailurePercent
// and Sleep are the rule; each of the others is an addition to it.
type Breaker struct {
	// Off lets everything through, whatever happens. Default false.
	Off bool `json:"off,omitempty"`
	// Volume is how many requests must have ended in ten seconds before a rate counts. Default 10.
	Volume int `json:"volume,omitempty"`
	// FailurePercent of failed requests in ten seconds opens. Default 50; -1: no rate opens.
	FailurePercent int `json:"failure_percent,omitempty"`
	// Sleep is how long it stays open the first time; it doubles with every relapse, up to MaxSleep. Defaults 5s and 1m.
	Sleep    Duration `json:"sleep,omitempty"`
	MaxSleep Duration `json:"max_sleep,omitempty"`
	// Consecutive failures open at once. Default: they do not.
	Consecutive int `json:"consecutive,omitempty"`
	// SlowFirstByte is a first content that comes late; SlowPercent of them opens. Defaults off and 80.
	SlowFirstByte Duration `json:"slow_first_byte,omitempty"`
	SlowPercent   int      `json:"slow_percent,omitempty"`
	// Callers keeps one caller's failures from opening a circuit alone while others are served. Default true.
	Callers *bool `json:"callers,omitempty"`
	// Routes has one path, or one version of a model, that fails alone be closed to requests alone. Default true.
	Routes *bool `json:"routes,omitempty"`
	// Trickle is how many requests a second pass an open circuit when there is no other endpoint. Default 2; -1: none.
	Trickle float64 `json:"trickle,omitempty"`
	// Successes close a circuit on its way back when there is no other endpoint. Default 3.
	Successes int `json:"successes,omitempty"`
	// Ramp is the part of requests that passes in each step of the way back while other endpoints take
	// the rest. Default [0.01, 0.05, 0.25, 0.5]; []: no steps, Successes decide.
	Ramp []float64 `json:"ramp,omitzero"`
	// Step is how long each of them takes. Default 1s.
	Step Duration `json:"step,omitempty"`
	// MaxConcurrent requests may be under way at an endpoint. Default: any number.
	MaxConcurrent int `json:"max_concurrent,omitempty"`
	// PerVersion gives each version of the routing table a circuit of its own at every endpoint,
	// for pools that serve several models. Default false.
	PerVersion bool `json:"per_version,omitempty"`
}

// Health is an active health check.
type Health struct {
	// Path is asked with GET; 2xx and 3xx are healthy. Default /health.
	Path string `json:"path,omitempty"`
	// Interval between checks. Default 5s.
	Interval Duration `json:"interval,omitempty"`
	// Timeout of one check. Default 2s.
	Timeout Duration `json:"timeout,omitempty"`
}

// Group is a set of routes with one chain of stages.
type Group struct {
	// Path is the prefix: "/v1" takes /v1 and everything below it.
	Path string `json:"path"`
	// Methods that are let in. Default: all.
	Methods []string `json:"methods,omitempty"`
	// Stages that are on: ip, auth, routing, limits, cache, stream. Default: auth, stream,
	// and of the others those that are configured. They always run in this order.
	Stages []string `json:"stages,omitempty"`
	// IP refuses addresses.
	IP *IP `json:"ip,omitempty"`
	// CORS lets pages of other origins call from a browser. Default: they can't.
	CORS *CORS `json:"cors,omitempty"`
	// Scopes that a caller must have, all of them.
	Scopes []string `json:"scopes,omitempty"`
	// Limits are the names of those that hold here.
	Limits []string `json:"limits,omitempty"`
	// Wait lets requests over a limit of requests wait. Default: they are refused at once.
	Wait *Wait `json:"wait,omitempty"`
	// Concurrency bounds the requests under way. Default: they are not bounded.
	Concurrency *Concurrency `json:"concurrency,omitempty"`
	// Cache answers again what was asked before. Default: it does not.
	Cache *Cache `json:"cache,omitempty"`
	// Queue offers /files, /batches and /jobs below the path. What they ask goes through this chain, with
	// the identity of who submitted it. Default false.
	Queue bool `json:"queue,omitempty"`
	// Upstream takes every request of the group, when routing is off.
	Upstream string `json:"upstream,omitempty"`
	// Routing chooses the upstream by the table.
	Routing *Routing `json:"routing,omitempty"`
	// Stream guards streams of server-sent events.
	Stream Stream `json:"stream,omitzero"`
	// Proxy is how requests are relayed.
	Proxy Proxy `json:"proxy,omitzero"`
}

// Routing is the stage that decides on a model version.
type Routing struct {
	// StickyHeader names the user; the same one always gets the same version.
	// Without it a cookie does.
	StickyHeader string `json:"sticky_header,omitempty"`
	// Table is the routing table.
	Table json.RawMessage `json:"table"`
	// Mirror bounds the copies of requests to the mirrors that the table names.
	Mirror *Mirror `json:"mirror,omitempty"`
	// Rollouts divide the weights of two routes of the table by what is measured.
	Rollouts []Rollout `json:"rollouts,omitempty"`
}

// Mirror bounds the copies that are under way; a request beyond that is not copied.
type Mirror struct {
	// Concurrent is how many there may be at once. Default 16.
	Concurrent int `json:"concurrent,omitempty"`
	// Timeout ends one. Default 1m.
	Timeout Duration `json:"timeout,omitempty"`
}

// Stream is the stage that guards streams.
type Stream struct {
	// Heartbeat is the silence after which a comment is sent. Default 15s; "off".
	Heartbeat Duration `json:"heartbeat,omitempty"`
	// WriteTimeout is how long one write to a slow client may take. Default 10s; "off".
	WriteTimeout Duration `json:"write_timeout,omitempty"`
	// Idle ends a stream that is silent for so long. Default 5m; "off".
	Idle Duration `json:"idle,omitempty"`
	// Total ends a stream of this age. Default off.
	Total Duration `json:"total,omitempty"`
}

// Proxy is how requests are relayed.
type Proxy struct {
	// StripPrefix takes the group's path off before the request goes upstream. Default false.
	StripPrefix bool `json:"strip_prefix,omitempty"`
	// MaxBody is the largest body, in bytes, that is held in memory, by all stages: to find its model,
	// to estimate its cost, to send it again. Of a longer one the beginning is read and the rest
	// streams. Default 33554432; -1: bodies stream, unless a stage needs them.
	MaxBody int64 `json:"max_body,omitempty"`
	// Tries is the most attempts per request. Default 3; 1 means no retries.
	Tries int `json:"tries,omitempty"`
	// RetryPosts also repeats POST requests that an upstream may have begun,
	// as is right for inference and wrong for orders. Default false.
	RetryPosts bool `json:"retry_posts,omitempty"`
	// Hedge begins a second attempt beside one whose first token is late. Default: none is.
	Hedge *Hedge `json:"hedge,omitempty"`
	// Connect bounds the making of a connection. Default 5s; "off".
	Connect Duration `json:"connect,omitempty"`
	// FirstByte bounds each attempt until the head of its response. Default 2m; "off".
	// Without first_content and hold it bounds each silence of a stream before its content too.
	FirstByte Duration `json:"first_byte,omitempty"`
	// FirstContent bounds each attempt of a call that generates text until its first content; comments
	// and white space are none. Default 5m; "off".
	FirstContent Duration `json:"first_content,omitempty"`
	// Hold is how long a response may be kept back until it has content, so that one which fails
	// before can be replaced. Then it passes as it is, and heartbeats with it. Default: until
	// first_content; "off".
	Hold Duration `json:"hold,omitempty"`
	// Idle bounds each wait for the next bytes of a response, of any kind. Default 5m; "off".
	Idle Duration `json:"idle,omitempty"`
	// Stall ends a stream of text that pauses ten times longer than it usually does, and at least
	// for so long; not where tools, searches or code are at work. Default 1m; "off".
	Stall Duration `json:"stall,omitempty"`
	// Total bounds the whole. Default 1h; "off".
	Total Duration `json:"total,omitempty"`
	// Tunnel bounds the silence of an upgraded connection. Default 1h; "off".
	Tunnel Duration `json:"tunnel,omitempty"`
}

// Hedge says when a second attempt is begun. It needs retry_posts.
type Hedge struct {
	// Ratio is how many second attempts there may be per request. Default 0.05.
	Ratio float64 `json:"ratio,omitempty"`
	// Quantile of the recent times to the first token, after which an attempt is late. Default 0.95.
	Quantile float64 `json:"quantile,omitempty"`
}

// The stages of a chain, in the order in which they run.
const (
	stageIP      = "ip"
	stageAuth    = "auth"
	stageRouting = "routing"
	stageLimits  = "limits"
	stageCache   = "cache"
	stageStream  = "stream"
)

// Duration is written as "1m30s", or "off".
type Duration time.Duration

// off is the value that every Config of the library takes as "no limit".
const off = Duration(-1)

// UnmarshalJSON reads a duration.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return &valueError{b, `a duration is written as "30s", "1m30s" or "off"`}
	}
	if s == "off" {
		*d = off
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return &valueError{b, fmt.Sprintf(`%q is not a duration such as "30s", "1m30s" or "off"`, s)}
	}
	*d = Duration(v)
	return nil
}

// valueError is a value that its type can't read.
type valueError struct {
	value  []byte // as it was written
	reason string
}

func (e *valueError) Error() string { return e.reason }

// MarshalJSON writes a duration.
func (d Duration) MarshalJSON() ([]byte, error) {
	if d < 0 {
		return []byte(`"off"`), nil
	}
	return json.Marshal(time.Duration(d).String())
}
