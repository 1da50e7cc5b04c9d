package balance

import (
	"net/http"
	"time"
)

// TokenRate returns a policy for pools that serve streams of tokens. It picks the endpoint
// where the next token is expected first: the one with the lowest cost
//
//	(in-flight + 1) / (weight · success² · rate) · max(1 s, age)
//
// where rate is the number of events per second of its streams, relative to the other
// endpoints, and age is how long its oldest stream has waited for a first event, up to 10 s and
// not counting streams that later ones have overtaken: a single stuck stream does not exclude
// an endpoint. An endpoint that was more than four times slower than the mean is remembered:
// it gets next to nothing while others have room, and is tried again after 250 requests to the
// pool, then after twice as many each time, up to 2,000. So it detects the load that other gateways send, and a slow, stalled or faster
// server, without querying any of them. Without streams it is [LeastRequest]. It must be
// Config.Policy itself: wrapped in another policy it receives no events.
func TokenRate() Policy { return tokenRate{} }

type tokenRate struct{}

func (tokenRate) Picker([]EndpointInfo) Picker { return tokenRate{} }

func (tokenRate) Pick(req *http.Request, c Candidates) int {
	if c.now == 0 {
		c.now = time.Now().UnixNano()
	}
	c.set.compare(c.now)
	if i := c.set.probe(req, c); i >= 0 {
		return i
	}
	return lowest(c, true)
}
