package balance

import (
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
	u, err := url.Parse(e.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("balance: endpoint %q: %w", e.URL, err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("balance: endpoint %q: the scheme must be http or https", e.URL)
	case u.Host == "":
		return nil, fmt.Errorf("balance: endpoint %q: no host", e.URL)
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fmt.Errorf("balance: endpoint %q: only scheme, host and path are allowed", u.Redacted())
	case e.Weight < 0 || e.Weight > maxWeight:
		return nil, fmt.Errorf("balance: endpoint %q: weight %d is not within 1 and %d", e.URL, e.Weight, maxWeight)
	}
	n := &node{name: e.Name, url: u, base: strings.TrimSuffix(u.Path, "/"), transport: e.Transport}
	n.weight.Store(int64(max(e.Weight, 1)))
	if n.name == "" {
		n.name = e.URL
	}
	if n.transport == nil {
		n.transport = transport
	}
	return n, nil
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
		u.RawPath = strings.TrimSuffix(n.url.EscapedPath(), "/") + req.URL.EscapedPath()
		u.Path = n.base + req.URL.Path
	}
	out.URL = &u
	if !keepHost {
		out.Host = ""
	}
	return out
}
