package config

// Upstream is a pool of servers that serve the same models.
type Upstream struct {
	// Endpoints are the servers.
	Endpoints []Endpoint `json:"endpoints"`
	// Policy is least_request (default); token_rate, which measures how fast the streams of each
	// server get their tokens; prefix_affinity, which keeps the turns of a chat on the server that
	// cached its prefix; round_robin; or hash.
	Policy string `json:"policy,omitempty"`
	// Hash configures the key of the policy hash.
	Hash *Hash `json:"hash,omitempty"`
	// Health is the active health check. Default: none; passive ejection alone watches the endpoints.
	Health *Health `json:"health,omitempty"`
	// Breaker keeps requests from failing endpoints. Default: on, with its defaults.
	Breaker Breaker `json:"breaker,omitzero"`
	// SlowStart is the time over which a new or recovered endpoint reaches its full share. Default: 0s, at once.
	SlowStart Duration `json:"slow_start,omitempty"`
	// Protocol is "" (HTTP/1.1, over TLS also HTTP/2), http1, http2 or h2c.
	Protocol string `json:"protocol,omitempty"`
	// CAFile, CertFile and KeyFile are for TLS to the endpoints (PEM).
	CAFile   string `json:"ca_file,omitempty"`
	CertFile string `json:"cert_file,omitempty"`
	KeyFile  string `json:"key_file,omitempty"`
	// Proxy is the URL of a forward proxy for the endpoints (http, https, socks5 or socks5h), or none;
	// ${NAME} expands to an environment variable: "http://user:${PASSWORD}@proxy:3128". Default: the
	// environment's HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
	Proxy string `json:"proxy,omitempty"`
	// Connections bounds how long connections to the endpoints are kept and used.
	Connections Connections `json:"connections,omitzero"`
	// Headers are set on every request to this pool, replacing the client's.
	// ${NAME} expands to an environment variable: {"Authorization": "Bearer ${OPENAI_API_KEY}"}.
	Headers map[string]string `json:"headers,omitempty"`
	// NoInject leaves requests for streams as the client sent them. By default the gateway adds a
	// request for usage to completions, and removes the usage again for clients that did not request it;
	// if an upstream refuses the addition, the request is repeated without it. Default: false.
	NoInject bool `json:"no_inject,omitempty"`
}

// Connections bounds how long connections to the endpoints of an upstream are kept and used.
type Connections struct {
	// Idle is the time after which an idle connection is closed. Keep it below the servers' own. Default: 4s.
	Idle Duration `json:"idle,omitempty"`
	// MaxAge is the time after which a connection gets no further requests; each has a random part of
	// it, from half to all. Default: 5m.
	MaxAge Duration `json:"max_age,omitempty"`
	// MaxRequests is the number of requests after which a connection gets no further ones; each has a
	// random part of it, from half to all. Default: 10000; -1: unlimited.
	MaxRequests int `json:"max_requests,omitempty"`
	// MaxIdle is the number of idle connections kept per endpoint. Default: 512; -1: none.
	MaxIdle int `json:"max_idle,omitempty"`
	// Max bounds the connections per endpoint; further requests wait. Default: 0, no limit.
	Max int `json:"max,omitempty"`
}

// Endpoint is one server.
type Endpoint struct {
	// URL is its base: https://host:port/path, or unix:/run/vllm.sock for a Unix socket, with a
	// path unix:/run/vllm.sock:/v1.
	URL string `json:"url"`
	// Weight is its share. Default: 1.
	Weight int `json:"weight,omitempty"`
}

// Hash configures the key of the policy hash: exactly one of the first three.
type Hash struct {
	// Header is the name of a request header.
	Header string `json:"header,omitempty"`
	// Body is the name of a top-level field of the JSON body, a string.
	Body string `json:"body,omitempty"`
	// Subject is the caller, as authenticated by the stage auth.
	Subject bool `json:"subject,omitempty"`
	// Algorithm is ring (default), rendezvous or maglev.
	Algorithm string `json:"algorithm,omitempty"`
	// LoadBound is the multiple of the mean load, plus three requests, beyond which a server's keys go
	// to the next one, such as 1.25. Default: 0, no bound: a key leaves only a server that is not usable.
	LoadBound float64 `json:"load_bound,omitempty"`
}

// Breaker configures when the circuit of an endpoint opens, and how it closes. Volume, FailurePercent
// and Sleep are the basic rule; each of the others is an addition to it.
type Breaker struct {
	// Off disables the breaker. Default: false.
	Off bool `json:"off,omitempty"`
	// Volume is how many requests must have ended in ten seconds before the failure rate counts. Default: 10.
	Volume int `json:"volume,omitempty"`
	// FailurePercent of failed requests in ten seconds opens the circuit. Default: 50; -1: no rate opens.
	FailurePercent int `json:"failure_percent,omitempty"`
	// Sleep is how long the circuit stays open the first time; it doubles with every relapse, up to MaxSleep. Defaults: 5s and 1m.
	Sleep    Duration `json:"sleep,omitempty"`
	MaxSleep Duration `json:"max_sleep,omitempty"`
	// Consecutive failures open the circuit at once. Default: 0, they do not.
	Consecutive int `json:"consecutive,omitempty"`
	// SlowFirstByte is the time after which first content is slow; SlowPercent of slow requests opens the circuit. Defaults: off and 80.
	SlowFirstByte Duration `json:"slow_first_byte,omitempty"`
	SlowPercent   int      `json:"slow_percent,omitempty"`
	// Callers keeps the failures of one caller from opening a circuit alone while others are served. Default: true.
	Callers *bool `json:"callers,omitempty"`
	// Routes closes only the path, or the version of a model, that fails alone. Default: true.
	Routes *bool `json:"routes,omitempty"`
	// Trickle is how many requests per second pass an open circuit when there is no other endpoint. Default: 2; -1: none.
	Trickle float64 `json:"trickle,omitempty"`
	// Successes close a recovering circuit when there is no other endpoint. Default: 3.
	Successes int `json:"successes,omitempty"`
	// Ramp is the part of requests that passes in each step of the recovery while other endpoints take
	// the rest. Default: [0.01, 0.05, 0.25, 0.5]; []: no steps, Successes decide.
	Ramp []float64 `json:"ramp,omitzero"`
	// Step is how long each step takes. Default: 1s.
	Step Duration `json:"step,omitempty"`
	// MaxConcurrent bounds the concurrent requests of an endpoint. Default: 0, unbounded.
	MaxConcurrent int `json:"max_concurrent,omitempty"`
	// PerVersion gives each version of the routing table a circuit of its own at every endpoint,
	// for pools that serve several models. Default: false.
	PerVersion bool `json:"per_version,omitempty"`
}

// Health is an active health check.
type Health struct {
	// Path is requested with GET; 2xx and 3xx are healthy. Default: /health.
	Path string `json:"path,omitempty"`
	// Interval is the time between checks. Default: 5s.
	Interval Duration `json:"interval,omitempty"`
	// Timeout bounds one check. Default: 2s.
	Timeout Duration `json:"timeout,omitempty"`
}

// DemoVersions are the upstreams of a configuration without any: the versions of the demo model.
func DemoVersions() []string { return []string{"v1.2", "v1.3"} }
