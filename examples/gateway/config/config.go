// Package config is the configuration of the gateway: its types, which are documented
// field by field, how a file is read, and which configurations are refused.
package config

// Config is the configuration of the whole gateway. Everything in it can change while the
// gateway runs, except the two addresses.
type Config struct {
	// Schema lets editors check the file; the gateway ignores it.
	Schema string `json:"$schema,omitempty"`
	// Public is the listener for clients.
	Public Public `json:"public,omitzero"`
	// Private is the listener for operators: health, admin, profiles. Keep it off the internet.
	Private Private `json:"private,omitzero"`
	// Drain configures the shutdown.
	Drain Drain `json:"drain,omitzero"`
	// Log configures the access log.
	Log Log `json:"log,omitzero"`
	// Memory configures the garbage collector and the budget of request bodies.
	Memory Memory `json:"memory,omitzero"`
	// TrustedProxies are the CIDR ranges with trusted X-Forwarded-* headers; "unix" are the peers on
	// a Unix socket. Default: none.
	TrustedProxies []string `json:"trusted_proxies,omitempty"`
	// Upstreams are pools of servers by name. Default: the two versions of the demo model,
	// which run inside the gateway, as "v1.2" and "v1.3".
	Upstreams map[string]Upstream `json:"upstreams,omitempty"`
	// Auth configures how callers are authenticated.
	Auth Auth `json:"auth,omitzero"`
	// Redis is where replicas share limits, cache and rollouts. Default: each replica has its own.
	Redis *Redis `json:"redis,omitempty"`
	// Limits are rate limits by name, for groups to refer to.
	Limits map[string]Limit `json:"limits,omitempty"`
	// CacheStore bounds the storage of the groups' caches.
	CacheStore *CacheStore `json:"cache_store,omitempty"`
	// RolloutDir is the directory that stores the progress of rollouts, unless Redis does. It is
	// created when a rollout first changes. Default: rollouts.
	RolloutDir string `json:"rollout_dir,omitempty"`
	// Queue accepts batches and jobs, for the groups that enable them. Default: no queue.
	Queue *Queue `json:"queue,omitempty"`
	// Groups are route groups; the group with the longest matching path serves a request.
	Groups []Group `json:"groups"`
}

// Public is the listener for clients.
type Public struct {
	// Address is the address to listen on, or "unix:/run/gateway.sock" for a Unix socket.
	// Default: 127.0.0.1:8080.
	Address string `json:"address,omitempty"`
	// SocketMode are the permissions of a Unix socket, in octal. Default: 0660.
	SocketMode string `json:"socket_mode,omitempty"`
	// TLS, when set, serves HTTPS and HTTP/2. The files are reloaded when they change.
	TLS *TLS `json:"tls,omitempty"`
	// H2C also accepts HTTP/2 without TLS, from a load balancer that speaks it. Default: false.
	H2C bool `json:"h2c,omitempty"`
	// HeaderTimeout bounds the time to read a request's header. Default: 10s.
	HeaderTimeout Duration `json:"header_timeout,omitempty"`
	// IdleTimeout closes idle connections. Default: 2m.
	IdleTimeout Duration `json:"idle_timeout,omitempty"`
	// MaxHeaderBytes bounds the size of a request's header. Default: 65536.
	MaxHeaderBytes int `json:"max_header_bytes,omitempty"`
	// MaxConnections bounds open connections; further ones wait to be accepted. Default: 20000.
	MaxConnections int `json:"max_connections,omitempty"`
	// MaxStreams bounds the concurrent requests of one HTTP/2 connection. Default: 100.
	MaxStreams int `json:"max_streams,omitempty"`
}

// TLS names a certificate and its key, in PEM.
type TLS struct {
	// Cert is the file of the certificate chain.
	Cert string `json:"cert"`
	// Key is the file of its private key.
	Key string `json:"key"`
	// ClientCA is the file of the authorities that may sign client certificates. On the public
	// port the stage auth evaluates them.
	ClientCA string `json:"client_ca,omitempty"`
}

// Files returns the files that may be replaced while the gateway runs.
func (t *TLS) Files() []string {
	if t.ClientCA == "" {
		return []string{t.Cert, t.Key}
	}
	return []string{t.Cert, t.Key, t.ClientCA}
}

// Private is the listener for operators.
type Private struct {
	// Address is the address to listen on, or "unix:/run/admin.sock" for a Unix socket.
	// Default: 127.0.0.1:9090.
	Address string `json:"address,omitempty"`
	// SocketMode are the permissions of a Unix socket, in octal. Default: 0660.
	SocketMode string `json:"socket_mode,omitempty"`
	// TLS, when set, serves HTTPS. With client_ca, clients need a certificate signed by it.
	TLS *TLS `json:"tls,omitempty"`
	// Hosts are names that requests may use. Addresses, names without a dot, and cluster names
	// (.svc, .cluster.local, .internal) are always accepted. Other names are refused, because a
	// site that rebinds its DNS name to this machine could otherwise read and change everything
	// through its visitors' browsers. Default: none.
	Hosts []string `json:"hosts,omitempty"`
	// ContentionProfiles samples where goroutines wait, for the block and mutex profiles. It costs
	// some speed. Default: false.
	ContentionProfiles bool `json:"contention_profiles,omitempty"`
}

// Drain configures the time between SIGTERM and exit.
type Drain struct {
	// Delay is how long readiness fails before the port closes, so that load balancers notice. Default: 0s.
	Delay Duration `json:"delay,omitempty"`
	// Timeout is how long open requests and streams may continue after that. Default: 30s.
	Timeout Duration `json:"timeout,omitempty"`
}

// Log configures the access log: one line per request, when it has ended, without prompts,
// secrets and query strings.
type Log struct {
	// Sample logs one of this many successful requests; failures are always logged. Default: 1, all; -1: none.
	Sample int `json:"sample,omitempty"`
	// Slow is the duration from which successful requests are always logged. Default: 10s; "off".
	Slow Duration `json:"slow,omitempty"`
	// Pseudonyms is a key that replaces callers' names by pseudonyms: "${LOG_KEY}". Default: names are logged.
	Pseudonyms string `json:"pseudonyms,omitempty"`
	// IDHeader is the response header with the gateway's ID of the request. X-Request-Id has it too,
	// unless the upstream sends its own. Default: X-Gateway-Request-Id.
	IDHeader string `json:"id_header,omitempty"`
	// Sync writes each line before its request's connection is free again, instead of in batches every
	// 100 ms. It costs a system call per request, and requests wait for a slow disk. Default: false.
	Sync bool `json:"sync,omitempty"`
	// Path also logs paths, which may be personal data. Default: false.
	Path bool `json:"path,omitempty"`
}

// Memory configures the garbage collector. The variables GOMEMLIMIT and GOGC take precedence
// where they are set.
type Memory struct {
	// LimitPercent of the container's memory is the soft limit. Default: 90; -1: none.
	LimitPercent int `json:"limit_percent,omitempty"`
	// GOGC is how much the heap may grow between collections, in percent. Default: 100, or up to
	// 16 MiB if that is more; -1: off, which needs a limit.
	GOGC int `json:"gogc,omitempty"`
	// BodyBudget is how many bytes of request bodies may be in memory at a time. Requests beyond
	// it get 503. Default: a quarter of the memory limit, at least 268435456.
	BodyBudget int64 `json:"body_budget,omitempty"`
	// BodyShare is the part of BodyBudget that one caller may use, and all unauthenticated callers
	// together. Default: 0.25.
	BodyShare float64 `json:"body_share,omitempty"`
}
