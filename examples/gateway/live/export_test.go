package live

import (
	"net/url"

	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/ratelimit"
)

// NewBuckets returns the store of a configuration's limits.
func (g *Gateway) NewBuckets(cfg *config.Redis) (Part[ratelimit.Store], error) {
	return (&builder{g: g}).newBuckets(cfg)
}

// CutPrefix removes a group's prefix from a URL.
func CutPrefix(u *url.URL, prefix string) { cutPrefix(u, prefix) }
