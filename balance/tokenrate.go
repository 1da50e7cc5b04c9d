package balance

import (
	"net/http"
	"time"
)

// TokenRate picks the endpoint where the next token is soonest: the one with the lowest
// cost
//
//	(in-flight + 1) / (weight · success² · rate) · max(1 s, age)
//
// where rate is how many events its streams get each second, compared with the other
// endpoints', and age how long the eldest stream that none overtook has waited for its first
// one, up to 10 s: a stream that is stuck alone takes no endpoint away. So it sees
// what other gateways send there, that a server is slow or at a halt, and which is faster,
// without asking any of them. For pools that serve streams of tokens; without streams it is
// [LeastRequest]. It must be the Config's Policy itself: within another one nobody watches
// streams.
func TokenRate() Policy { return tokenRate{} }

type tokenRate struct{}

func (tokenRate) Picker([]EndpointInfo) Picker { return tokenRate{} }

func (tokenRate) Pick(_ *http.Request, c Candidates) int {
	if c.now == 0 {
		c.now = time.Now().UnixNano()
	}
	c.set.compare(c.now)
	return lowest(c, true)
}
