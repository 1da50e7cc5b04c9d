package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rs/cors"
)

// CORS lets pages of other origins call from a browser (Fetch standard, "CORS protocol").
type CORS struct {
	// Origins are those that may: "https://app.example.com", "https://*.example.com", or "*" for every one.
	Origins []string `json:"origins"`
	// Credentials lets browsers send cookies and client certificates. A token in a header needs no such
	// thing. Not with the origin "*". Default false.
	Credentials bool `json:"credentials,omitempty"`
	// MaxAge is how long a browser need not ask again. Default 10m, at most 2h.
	MaxAge Duration `json:"max_age,omitempty"`
}

// maxPreflightAge is the longest that a browser believes (Chromium's bound).
const maxPreflightAge = 2 * time.Hour

func (k *checker) cors(path string, c *CORS) {
	if c == nil {
		return
	}
	if len(c.Origins) == 0 {
		k.add(path+".origins", "at least one is needed")
	}
	for i, origin := range c.Origins {
		at := fmt.Sprintf("%s.origins[%d]", path, i)
		switch {
		case origin == "*" && c.Credentials:
			k.add(at, "every origin must not have credentials: name them")
		case origin != "*" && !isOrigin(origin):
			k.add(at, "%q is not an origin such as https://app.example.com or https://*.example.com", origin)
		}
	}
	if c.MaxAge < 0 || time.Duration(c.MaxAge) > maxPreflightAge {
		k.add(path+".max_age", "must be between 0 and %v", maxPreflightAge)
	}
}

// isOrigin reports whether a text is an origin as browsers send it, whose first label may be
// "*". One that stands elsewhere would let in https://app.example.com.evil.example.
func isOrigin(origin string) bool {
	u, err := url.Parse(strings.Replace(origin, "://*.", "://", 1))
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.Scheme+"://"+u.Host == strings.Replace(origin, "://*.", "://", 1) &&
		!strings.Contains(u.Host, "*") && origin == strings.ToLower(origin)
}

// allowOrigins answers what browsers ask before they send a request, and marks answers, also
// refusals, so that pages may read them.
func allowOrigins(cfg *Group, next http.Handler) http.Handler {
	c := cfg.CORS
	if c == nil {
		return next
	}
	methods := cfg.Methods
	if len(methods) == 0 {
		methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	}
	age := time.Duration(c.MaxAge)
	if age == 0 {
		age = 10 * time.Minute
	}
	return cors.New(cors.Options{
		AllowedOrigins: c.Origins, AllowedMethods: methods, AllowedHeaders: []string{"*"}, AllowCredentials: c.Credentials, MaxAge: int(age.Seconds()),
		ExposedHeaders: []string{
			"X-Request-Id", "X-Model", "X-Model-Version", "X-Fallback-From", "Cache-Status", "Retry-After", "Retry-After-Ms", "X-Should-Retry", "Ratelimit", "Ratelimit-Policy",
			"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests",
			"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens",
		},
	}).Handler(next)
}

// ownOrigins takes what upstreams say of origins out of their answers: the gateway says it,
// and a browser refuses what is said twice.
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
