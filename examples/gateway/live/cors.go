package live

import (
	"cmp"
	"net/http"
	"strings"
	"time"

	"github.com/rs/cors"
)

// CORS responds to preflight requests of browsers, and marks responses, also refusals, so that
// pages may read them.
func (s *Stages) CORS(next http.Handler) http.Handler {
	c := s.Group.CORS
	if c == nil {
		return next
	}
	methods := s.Group.Methods
	if len(methods) == 0 {
		methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	}
	age := cmp.Or(time.Duration(c.MaxAge), 10*time.Minute)
	return cors.New(cors.Options{
		AllowedOrigins: c.Origins, AllowedMethods: methods, AllowedHeaders: []string{"*"}, AllowCredentials: c.Credentials, MaxAge: int(age.Seconds()),
		ExposedHeaders: []string{
			"X-Request-Id", "X-Gateway-Request-Id", "X-Model", "X-Model-Version", "X-Fallback-From", "Cache-Status", "Retry-After", "Retry-After-Ms", "X-Should-Retry", "Ratelimit", "Ratelimit-Policy",
			"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests",
			"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens",
		},
	}).Handler(next)
}

// OwnOrigins removes the CORS headers of upstreams where the group sends its own: browsers
// refuse a header that appears twice.
func (s *Stages) OwnOrigins() Layer {
	if s.Group.CORS == nil {
		return nil
	}
	return func(next http.RoundTripper) http.RoundTripper { return ownOrigins{next} }
}

type ownOrigins struct{ http.RoundTripper }

func (t ownOrigins) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.RoundTripper.RoundTrip(req)
	if err == nil {
		for name := range res.Header {
			if strings.HasPrefix(name, "Access-Control-") {
				delete(res.Header, name)
			}
		}
	}
	return res, err
}
