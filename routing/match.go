package routing

import (
	"net/http"
	"slices"
	"strings"
)

// subject is a request as conditions see it. Expensive values are computed on first use.
type subject struct {
	r      *http.Request
	model  string
	tags   func() []string
	path   string
	device string
}

// matches compares a value with a pattern: exactly, or as a prefix before a final "*".
func matches(pattern, v string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(v, prefix)
	}
	return pattern == v
}

// forModel reports whether the route takes requests for a model.
func (r *Route) forModel(model string) bool {
	return r.Model == "" || model != "" && matches(r.Model, model)
}

func (c *Conditions) met(s *subject) bool {
	if c.empty() {
		return true
	}
	if c.Path != "" && !matches(c.Path, s.cleanPath()) {
		return false
	}
	if len(c.Methods) > 0 && !slices.Contains(c.Methods, s.r.Method) {
		return false
	}
	return c.headersMet(s) && c.cookiesMet(s) && c.tagsMet(s) && c.deviceMet(s)
}

func (c *Conditions) headersMet(s *subject) bool {
	for name, pattern := range c.Headers {
		values := s.r.Header.Values(name)
		if strings.EqualFold(name, "Host") { // net/http keeps it elsewhere
			values = []string{s.r.Host}
		}
		if !slices.ContainsFunc(values, func(v string) bool { return matches(pattern, v) }) {
			return false
		}
	}
	return true
}

func (c *Conditions) cookiesMet(s *subject) bool {
	for name, pattern := range c.Cookies {
		if !slices.ContainsFunc(s.r.CookiesNamed(name), func(k *http.Cookie) bool { return matches(pattern, k.Value) }) {
			return false
		}
	}
	return true
}

func (c *Conditions) tagsMet(s *subject) bool {
	if len(c.Tags) == 0 {
		return true
	}
	have := s.tags()
	for _, pattern := range c.Tags {
		if !slices.ContainsFunc(have, func(tag string) bool { return matches(pattern, tag) }) {
			return false
		}
	}
	return true
}

func (c *Conditions) deviceMet(s *subject) bool {
	if len(c.Devices) == 0 {
		return true
	}
	if s.device == "" {
		s.device = device(s.r.Header)
	}
	return slices.Contains(c.Devices, s.device)
}

// cleanPath returns the path without double slashes, as most servers read it.
func (s *subject) cleanPath() string {
	if s.path != "" {
		return s.path
	}
	s.path = s.r.URL.Path
	for strings.Contains(s.path, "//") {
		s.path = strings.ReplaceAll(s.path, "//", "/")
	}
	return s.path
}
