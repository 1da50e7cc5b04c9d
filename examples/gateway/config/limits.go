package config

// Redis is where replicas of the gateway share state.
type Redis struct {
	// Addresses of a server, of the Sentinels, or of some nodes of a cluster.
	Addresses []string `json:"addresses"`
	// Master is the name of the master set at the Sentinels; with it, Addresses are theirs. Default: none.
	Master string `json:"master,omitempty"`
	// Cluster treats Addresses as nodes of a cluster. Default: true with several addresses and no master.
	Cluster bool `json:"cluster,omitempty"`
	// Username and Password: "${REDIS_PASSWORD}".
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	// DB is the number of the database. Default: 0.
	DB int `json:"db,omitempty"`
	// TLS encrypts, trusting CAFile, or the system's authorities. Default: false.
	TLS    bool   `json:"tls,omitempty"`
	CAFile string `json:"ca_file,omitempty"`
	// Prefix is the prefix of every key. Default: ginfer.
	Prefix string `json:"prefix,omitempty"`
	// Timeout bounds a call. Default: 50ms.
	Timeout Duration `json:"timeout,omitempty"`
	// Replicas is how many gateways share the limits; each enforces its share of them when Redis is down.
	Replicas int `json:"replicas"`
	// FailureMode applies to limits when Redis is down: local_share (default), fail_closed or fail_open.
	FailureMode string `json:"failure_mode,omitempty"`
}

// Limit is a rate limit or budget with a bucket per caller. Groups that refer to the same limit share it.
type Limit struct {
	// Unit is requests or tokens.
	Unit string `json:"unit"`
	// By is the key of the bucket: subject, tenant, ip, everybody, or header:NAME.
	By string `json:"by"`
	// Rate is how fast the bucket refills: "50/s", "600/m", "1000/h".
	Rate Rate `json:"rate,omitempty"`
	// Burst is the size of the bucket. Default: the refill of one second, for tokens of ten.
	Burst int64 `json:"burst,omitempty"`
	// Budget is the amount per Period, day or month (UTC), instead of a rate.
	Budget int64  `json:"budget,omitempty"`
	Period string `json:"period,omitempty"`
	// Tag restricts the limit to callers with this tag, NoTag to callers without. Default: all callers.
	Tag   string `json:"tag,omitempty"`
	NoTag string `json:"no_tag,omitempty"`
	// Shadow is shadow mode: the limit counts, and reports in log and metrics what it would refuse,
	// but refuses nothing. Default: false.
	Shadow bool `json:"shadow,omitempty"`
}

// needsIdentity reports whether the limit depends on the authenticated caller.
func (l *Limit) needsIdentity() bool {
	return l.By == "subject" || l.By == "tenant" || l.Tag != "" || l.NoTag != ""
}

// Wait lets requests over a rate wait for their turn, shared fairly between tenants.
type Wait struct {
	// Max is the longest wait. A request that would wait longer is refused at once.
	Max Duration `json:"max"`
	// Size is how many requests may wait. Default: 1000.
	Size int `json:"size,omitempty"`
	// Priority is the priority of callers by tag; higher priorities go first. Default: 0.
	Priority map[string]int `json:"priority,omitempty"`
}

// Concurrency bounds the concurrent requests adaptively, by the time to first token.
type Concurrency struct {
	// Initial, Min and Max are the initial limit and its bounds. Defaults: 20, 4, 200.
	Initial int `json:"initial,omitempty"`
	Min     int `json:"min,omitempty"`
	Max     int `json:"max,omitempty"`
	// Tolerance is the factor by which the time to first token may exceed the usual one. Default: 1.5.
	Tolerance float64 `json:"tolerance,omitempty"`
}
