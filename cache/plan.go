package cache

import (
	"net/http"
	"strings"
)

// makePlan says by which rules a request is treated. A reason says that it is none of the
// cache's business.
func (x *exchange) makePlan() (reason string, err error) {
	s := x.scratches.Get().(*scratch) //nolint:forcetypeassert // the pool holds nothing else
	defer x.giveBack(s)
	x.status.Forward = "bypass"
	switch x.req.Method {
	case http.MethodGet, http.MethodHead:
		if x.cfg.HTTP.Off {
			return "off", nil
		}
		return x.planHTTP(s)
	case http.MethodPost, http.MethodPatch:
		if x.cfg.Idempotency.On {
			if reason, err := x.planIdempotency(s); err != nil || reason != notMine {
				return reason, err
			}
		}
	}
	switch {
	case x.req.Method != http.MethodPost:
		x.status.Forward = "method"
		return "method", nil
	case x.cfg.LLM.Off:
		return "off", nil
	case !isJSON(x.req.Header.Get("Content-Type")) || x.req.Header.Get("Content-Encoding") != "":
		return "not-json", nil
	case upgrades(x.req):
		return "upgrade", nil
	}
	return x.planLLM(s)
}

// giveBack keeps what it takes to make a key, unless it has become large.
func (c *Cache) giveBack(s *scratch) {
	if cap(s.text) <= maxScratch {
		c.scratches.Put(s)
	}
}

// notMine: another policy may have the request.
const notMine = "not-mine"

func upgrades(req *http.Request) bool {
	return len(req.Header["Upgrade"]) > 0 || strings.EqualFold(req.Header.Get("Connection"), "upgrade")
}
