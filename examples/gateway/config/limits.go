package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Redis is where replicas of the gateway share their limits.
type Redis struct {
	// Addresses of a server, of the Sentinels, or of some nodes of a cluster.
	Addresses []string `json:"addresses"`
	// Master is the name that the Sentinels know; with it the addresses are theirs.
	Master string `json:"master,omitempty"`
	// Cluster says that they are nodes of a cluster. Default: when there are several and no master.
	Cluster bool `json:"cluster,omitempty"`
	// Username and Password: "${REDIS_PASSWORD}".
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	// DB is the number of the database. Default 0.
	DB int `json:"db,omitempty"`
	// TLS encrypts, trusting CAFile, or the system's authorities. Default false.
	TLS    bool   `json:"tls,omitempty"`
	CAFile string `json:"ca_file,omitempty"`
	// Prefix begins every key. Default ginfer.
	Prefix string `json:"prefix,omitempty"`
	// Timeout of a call. Default 50ms.
	Timeout Duration `json:"timeout,omitempty"`
	// Replicas is how many gateways share the limits; each has such a part of them when Redis is down.
	Replicas int `json:"replicas"`
	// WhenDown is share (default), deny or allow.
	WhenDown string `json:"when_down,omitempty"`
}

// Limit is a bucket for each caller. Groups that name the same limit share it.
type Limit struct {
	// Unit is requests or tokens.
	Unit string `json:"unit"`
	// By says whose bucket it is: subject, tenant, ip, everybody, or header:NAME.
	By string `json:"by"`
	// Rate is how many come back: "50/s", "600/m", "1000/h".
	Rate Rate `json:"rate,omitempty"`
	// Burst is how many can be had at once. Default what comes back in a second, of tokens in ten.
	Burst int64 `json:"burst,omitempty"`
	// Budget is how many can be had in a Period, day or month (UTC), in place of a rate.
	Budget int64  `json:"budget,omitempty"`
	Period string `json:"period,omitempty"`
	// Tag makes the limit one for callers with this tag, NoTag one for those without.
	Tag   string `json:"tag,omitempty"`
	NoTag string `json:"no_tag,omitempty"`
	// Shadow counts and tells whom the limit would refuse, in log and metrics, and refuses nobody. Default false.
	Shadow bool `json:"shadow,omitempty"`
}

// Wait lets requests over a rate wait for their turn, shared fairly between tenants.
type Wait struct {
	// Max is the longest wait. One that would take longer is refused at once.
	Max Duration `json:"max"`
	// Size is how many may wait. Default 1000.
	Size int `json:"size,omitempty"`
	// Priority is that of callers by tag; the higher goes first. Default 0.
	Priority map[string]int `json:"priority,omitempty"`
}

// Concurrency bounds the requests under way, by how fast first tokens come.
type Concurrency struct {
	// Initial, Min and Max are the limit to begin with and its bounds. Defaults 20, 4, 200.
	Initial int `json:"initial,omitempty"`
	Min     int `json:"min,omitempty"`
	Max     int `json:"max,omitempty"`
	// Tolerance is how much slower than usual a first token may come. Default 1.5.
	Tolerance float64 `json:"tolerance,omitempty"`
}

// Rate is a number per second, written as "50/s", "600/m" or "1000/h".
type Rate float64

// UnmarshalJSON reads a rate.
func (r *Rate) UnmarshalJSON(b []byte) error {
	fault := &valueError{b, fmt.Sprintf(`%s is not a rate such as "50/s", "600/m" or "1000/h"`, b)}
	var s string
	if json.Unmarshal(b, &s) != nil {
		return fault
	}
	number, unit, _ := strings.Cut(s, "/")
	seconds, ok := map[string]float64{"s": 1, "m": 60, "h": 3600}[unit]
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || !ok || !(v > 0) {
		return fault
	}
	*r = Rate(v / seconds)
	return nil
}

// MarshalJSON writes a rate.
func (r Rate) MarshalJSON() ([]byte, error) {
	return json.Marshal(strconv.FormatFloat(float64(r), 'g', -1, 64) + "/s")
}
