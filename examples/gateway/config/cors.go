package config

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// CORS lets pages of other origins call from a browser (Fetch standard, "CORS protocol").
type CORS struct {
	// Origins are the allowed origins: "https://app.example.com", "https://*.example.com", or "*" for all.
	Origins []string `json:"origins"`
	// Credentials lets browsers send cookies and client certificates. A token in a header does not need
	// it. It can't be combined with the origin "*". Default: false.
	Credentials bool `json:"credentials,omitempty"`
	// MaxAge is how long browsers may cache a preflight response. Default: 10m, at most 2h.
	MaxAge Duration `json:"max_age,omitempty"`
}

// maxPreflightAge is the longest that a browser caches (Chromium's bound).
const maxPreflightAge = 2 * time.Hour

func (k *checker) cors(path string, c *CORS) {
	if c == nil {
		return
	}
	if len(c.Origins) == 0 {
		k.Add(path+".origins", "at least one is needed")
	}
	for i, origin := range c.Origins {
		at := fmt.Sprintf("%s.origins[%d]", path, i)
		switch {
		case origin == "*" && c.Credentials:
			k.Add(at, "every origin must not have credentials: name them")
		case origin != "*" && !isOrigin(origin):
			k.Add(at, "%q is not an origin such as https://app.example.com or https://*.example.com", origin)
		}
	}
	if c.MaxAge < 0 || time.Duration(c.MaxAge) > maxPreflightAge {
		k.Add(path+".max_age", "must be between 0 and %v", maxPreflightAge)
	}
}

// isOrigin reports whether a text is an origin as browsers send it. Its first label may be
// "*". A "*" elsewhere would allow https://app.example.com.evil.example.
func isOrigin(origin string) bool {
	u, err := url.Parse(strings.Replace(origin, "://*.", "://", 1))
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.Scheme+"://"+u.Host == strings.Replace(origin, "://*.", "://", 1) &&
		!strings.Contains(u.Host, "*") && origin == strings.ToLower(origin)
}
