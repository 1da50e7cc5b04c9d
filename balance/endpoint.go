package balance

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// maxWeight bounds Endpoint.Weight.
const maxWeight = 1000

// Endpoint is one server of a pool.
type Endpoint struct {
	// Name identifies it in events, status and changes. Default: its URL.
	Name string
	// URL is its base, as https://host:port/path; the path goes in front of
	// each request's. Required.
	URL string
	// Weight is its share of requests, 1 to 1000. Default 1.
	Weight int
	// Transport carries its requests. Default: Config.Transport.
	Transport http.RoundTripper
}

// node checks e and makes a node of it.
func (e Endpoint) node(transport http.RoundTripper) (*node, error) {
	u, err := parseBase(e.URL)
	if e.Weight < 0 || e.Weight > maxWeight {
		err = errors.Join(err, fmt.Errorf("weight %d is not within 1 and %d", e.Weight, maxWeight))
	}
	if err != nil {
		return nil, fmt.Errorf("balance: endpoint %q: %w", e.label(), err)
	}
	n := &node{name: cmp.Or(e.Name, e.URL), url: u, base: strings.TrimSuffix(u.EscapedPath(), "/"), transport: e.Transport}
	// Decoded after the cut, so that a path that ends in %2F loses nothing.
	if n.basePath, err = url.PathUnescape(n.base); err != nil {
		return nil, fmt.Errorf("balance: endpoint %q: %w", e.label(), err)
	}
	n.weight.Store(int64(max(e.Weight, 1)))
	if n.transport == nil {
		n.transport = transport
	}
	return n, nil
}

// label names e in errors, without a password that got into its URL.
func (e Endpoint) label() string {
	return cmp.Or(e.Name, e.URL[strings.LastIndexByte(e.URL, '@')+1:])
}

// parseBase checks an endpoint's URL. A fault doesn't repeat it: it may hold a
// password by mistake.
func parseBase(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	var fault *url.Error
	switch {
	case errors.As(err, &fault):
		return nil, fmt.Errorf("URL: %w", fault.Err)
	case err != nil:
		return nil, fmt.Errorf("URL: %w", err)
	case u.Scheme != "http" && u.Scheme != "https":
		return u, errors.New("URL: the scheme must be http or https")
	case u.Host == "":
		return u, errors.New("URL: no host")
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return u, errors.New("URL: only scheme, host and path are allowed")
	}
	return u, nil
}

// nodes checks all endpoints and makes nodes of them.
func nodes(endpoints []Endpoint, transport http.RoundTripper) ([]*node, error) {
	var faults []error
	seen := map[string]bool{}
	list := make([]*node, 0, len(endpoints))
	for _, e := range endpoints {
		n, err := e.node(transport)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if seen[n.name] {
			faults = append(faults, fmt.Errorf("balance: endpoint %q: the name is taken", n.name))
		}
		seen[n.name] = true
		list = append(list, n)
	}
	return list, errors.Join(faults...)
}

// outbound is req on its way to the node. The query and the path's spelling
// stay as they are.
func (n *node) outbound(req *http.Request, keepHost bool) *http.Request {
	out := new(http.Request)
	*out = *req
	u := *req.URL
	u.Scheme, u.Host = n.url.Scheme, n.url.Host
	if n.base != "" {
		u.RawPath = n.base + req.URL.EscapedPath()
		u.Path = n.basePath + req.URL.Path
	}
	out.URL = &u
	switch {
	case !keepHost:
		out.Host = ""
	case out.Host == "": // net/http then means the URL's
		out.Host = req.URL.Host
	}
	return out
}
