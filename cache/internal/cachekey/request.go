package cachekey

import (
	"net/http"
	"slices"
	"strings"
)

// Headers is a set of request headers that are part of the key.
type Headers struct {
	first [256]bool // by the first letter: most names are excluded by it
	names map[string]bool
}

// NewHeaders returns the headers of the APIs, those by which some servers and frameworks
// override the address or the method, with which one client could choose what others get,
// and more.
func NewHeaders(more []string) *Headers {
	set := &Headers{names: map[string]bool{}}
	for _, name := range slices.Concat([]string{
		"Anthropic-Beta", "Anthropic-Version", "OpenAI-Beta", "OpenAI-Organization", "OpenAI-Project",
		"Forwarded", "Origin", "X-Forwarded-Host", "X-Forwarded-Path", "X-Forwarded-Port", "X-Forwarded-Prefix",
		"X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Uri", "X-Host", "X-Http-Host-Override",
		"X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Original-Host", "X-Original-Url", "X-Rewrite-Url",
	}, more) {
		name = http.CanonicalHeaderKey(name)
		set.names[name], set.first[name[0]] = true, true
	}
	return set
}

func (h *Headers) has(name string) bool { return name != "" && h.first[name[0]] && h.names[name] }

// AddPath adds path and query, byte for byte as the upstream will see them, and the headers
// that may change them. A header that only repeats the host is as the host: replicas have
// several names.
func (b *Builder) AddPath(req *http.Request, headers *Headers) {
	u := req.URL
	b.Add(u.EscapedPath())
	b.Add(u.RawQuery)
	if u.ForceQuery {
		b.Add("?")
	}
	var found [8]string
	names := found[:0]
	for name := range req.Header {
		if headers.has(name) && !repeatsHost(name, req) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		b.addValues(name, req.Header[name])
	}
}

// repeatsHost reports whether a header has nothing but the host of the request.
func repeatsHost(name string, req *http.Request) bool {
	switch values := req.Header[name]; name {
	case "X-Forwarded-Host", "X-Forwarded-Server", "X-Host", "X-Original-Host":
		return len(values) == 1 && values[0] == req.Host
	}
	return false
}

func (b *Builder) addValues(name string, values []string) {
	b.Add(name)
	b.AddLength(len(values))
	for _, v := range values {
		b.Add(v)
	}
}

// AddVariant adds the request headers that a response varies by.
func (b *Builder) AddVariant(req *http.Request, vary []string) {
	for _, name := range vary {
		values := req.Header[name]
		if name == "Host" {
			values = []string{req.Host}
		}
		b.Add(name)
		b.AddLength(len(values))
		for _, v := range values {
			b.Add(strings.TrimSpace(v))
		}
	}
}

// credentials are the headers that identify the caller.
func credentials() [4]string {
	return [...]string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"}
}

// AddCredentials adds the credentials of a request and reports whether it has any.
func (b *Builder) AddCredentials(h http.Header) (some bool) {
	for _, name := range credentials() {
		for _, v := range h[name] {
			some = true
			b.Add(name)
			b.Add(v)
		}
	}
	return some
}

// HasCredentials reports whether a request identifies the caller, also by a cookie or to a
// proxy.
func HasCredentials(h http.Header) bool {
	for _, name := range credentials() {
		if len(h[name]) > 0 {
			return true
		}
	}
	return len(h["Cookie"]) > 0 || len(h["Proxy-Authorization"]) > 0
}
