package config

import (
	"fmt"
	"net/netip"
)

// Queue runs batches and jobs. A change of it needs a restart.
type Queue struct {
	// Dir is the directory of the embedded store. Default: queue.
	Dir string `json:"dir,omitempty"`
	// SyncAlways makes each write wait for the disk, which survives a loss of power. Default: false.
	SyncAlways bool `json:"sync_always,omitempty"`
	// URL is that of a NATS cluster with JetStream, instead of the embedded store. Default: none.
	URL string `json:"url,omitempty"`
	// Replicas is how many of its servers store everything. Default: 1.
	Replicas int `json:"replicas,omitempty"`
	// Workers is how many tasks run concurrently. Default: 16; -1: this gateway only accepts them.
	Workers int `json:"workers,omitempty"`
	// TenantWorkers is how many workers one tenant may use. Default: all.
	TenantWorkers int `json:"tenant_workers,omitempty"`
	// Window is the time in which a batch must complete. Default: 24h.
	Window Duration `json:"window,omitempty"`
	// Keep is how long results, files and dead letters are stored. Default: 720h.
	Keep Duration `json:"keep,omitempty"`
	// Optional keeps /readyz at 200 while the queue's store is down, for gateways that
	// must go on with their other traffic. Default: false.
	Optional bool `json:"optional,omitempty"`
	// Webhooks lets jobs name a URL to call. Default: they can't.
	Webhooks *Webhooks `json:"webhooks,omitempty"`
}

// Webhooks are calls to the submitter of a job when it has completed.
type Webhooks struct {
	// Secrets sign them: "${WEBHOOK_SECRET}", which is whsec_ and 24 to 64 bytes in base64.
	Secrets []string `json:"secrets"`
	// Hosts are the names that may be called. Default: all that resolve to public addresses.
	Hosts []string `json:"hosts,omitempty"`
	// Networks are CIDR ranges that may be called although they are not public. Default: none.
	Networks []string `json:"networks,omitempty"`
}

// queues checks the queue, and the groups that use it.
func (k *checker) queues(c *Config) {
	for i := range c.Groups {
		g := &c.Groups[i]
		if !g.Queue {
			continue
		}
		at := fmt.Sprintf("groups[%d].queue", i)
		if c.Queue == nil {
			k.Add(at, "there is no queue: set queue at the top, {} for the defaults")
		}
		if !g.Has(StageAuth) {
			k.Add(at, "needs the stage auth: a job belongs to a caller")
		}
	}
	if c.Queue == nil || c.Queue.Webhooks == nil {
		return
	}
	for i, cidr := range c.Queue.Webhooks.Networks {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			k.Add(fmt.Sprintf("queue.webhooks.networks[%d]", i), "%q is not a CIDR range such as 10.0.0.0/8", cidr)
		}
	}
}
