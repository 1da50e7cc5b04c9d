package main

import (
	"fmt"
	"net/netip"
)

// Queue carries out later what may take long: batches and jobs. A change of it needs a
// restart.
type Queue struct {
	// Dir is where the queue inside the gateway keeps its files. Default queue.
	Dir string `json:"dir,omitempty"`
	// SyncAlways makes each write wait for the disk, which survives a loss of power. Default false.
	SyncAlways bool `json:"sync_always,omitempty"`
	// URL is that of a NATS cluster with JetStream, in place of the server inside.
	URL string `json:"url,omitempty"`
	// Replicas is on how many of its servers everything is kept. Default 1.
	Replicas int `json:"replicas,omitempty"`
	// Workers are how many tasks run at once. Default 16; -1: this gateway only takes them.
	Workers int `json:"workers,omitempty"`
	// TenantWorkers is how many of them may be one tenant's. Default: all.
	TenantWorkers int `json:"tenant_workers,omitempty"`
	// Window is how long a batch has. Default 24h.
	Window Duration `json:"window,omitempty"`
	// Keep is how long results, files and dead letters are kept. Default 720h.
	Keep Duration `json:"keep,omitempty"`
	// Webhooks lets jobs name a URL to call. Default: they can't.
	Webhooks *Webhooks `json:"webhooks,omitempty"`
}

// Webhooks are calls to who submitted a job, when it is done.
type Webhooks struct {
	// Secrets sign them: "${WEBHOOK_SECRET}", which is whsec_ and 24 to 64 bytes in base64.
	Secrets []string `json:"secrets"`
	// Hosts may be called. Default: all whose addresses are public.
	Hosts []string `json:"hosts,omitempty"`
	// Networks may be called although they are not public. Default none.
	Networks []string `json:"networks,omitempty"`
}

// queues checks what is said of the queue.
func (k *checker) queues(c *Config) {
	for i := range c.Groups {
		g := &c.Groups[i]
		if !g.Queue {
			continue
		}
		at := fmt.Sprintf("groups[%d].queue", i)
		if c.Queue == nil {
			k.add(at, "there is no queue: say queue at the top, {} for the defaults")
		}
		if !g.has(stageAuth) {
			k.add(at, "needs the stage auth: a job is somebody's")
		}
	}
	if c.Queue == nil || c.Queue.Webhooks == nil {
		return
	}
	for i, cidr := range c.Queue.Webhooks.Networks {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			k.add(fmt.Sprintf("queue.webhooks.networks[%d]", i), "%q is not a CIDR range such as 10.0.0.0/8", cidr)
		}
	}
}
