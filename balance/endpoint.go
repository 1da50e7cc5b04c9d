package balance

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/unixsock"
)

// maxWeight bounds Endpoint.Weight.
const maxWeight = 1000

// Endpoint is one server of a Pool.
type Endpoint struct {
	// Name identifies the endpoint in events, status and changes. Default: its URL.
	Name string
	// URL is the base URL, as https://host:port/path, or unix:/run/vllm.sock:/path for a server
	// on a Unix socket, which needs a Transport of proxy.NewTransport. The path is prefixed to
	// that of each request. Required.
	URL string
	// Weight is the relative share of requests, from 1 to 1000. Default: 1.
	Weight int
	// Transport sends the endpoint's requests. Default: Config.Transport.
	Transport http.RoundTripper
}

// node validates e and returns a node for it.
func (e Endpoint) node(transport http.RoundTripper) (*node, error) {
	u, err := parseBase(e.URL)
	if e.Weight < 0 || e.Weight > maxWeight {
		err = fault.Join(err, fmt.Errorf("weight %d is not within 1 and %d", e.Weight, maxWeight))
	}
	if err != nil {
		return nil, fmt.Errorf("balance: endpoint %q: %w", e.label(), err)
	}
	n := &node{name: cmp.Or(e.Name, e.URL), url: u, address: e.URL, base: strings.TrimSuffix(u.EscapedPath(), "/"), transport: e.Transport}
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

// label returns e's name for errors, without a password in its URL.
func (e Endpoint) label() string {
	return cmp.Or(e.Name, e.URL[strings.LastIndexByte(e.URL, '@')+1:])
}

// parseBase parses an endpoint's URL. Its errors don't repeat the URL, which may contain a
// password by mistake.
func parseBase(raw string) (*url.URL, error) {
	if strings.HasPrefix(raw, unixsock.Scheme+":") {
		u, err := unixsock.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("URL: %w", err)
		}
		return u, nil
	}
	u, err := url.Parse(raw)
	var fault *url.Error
	switch {
	case errors.As(err, &fault):
		return nil, fmt.Errorf("URL: %w", fault.Err)
	case err != nil:
		return nil, fmt.Errorf("URL: %w", err)
	case u.Scheme != "http" && u.Scheme != "https":
		return u, errors.New("URL: the scheme must be http, https or unix")
	case u.Host == "":
		return u, errors.New("URL: no host")
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return u, errors.New("URL: only scheme, host and path are allowed")
	}
	return u, nil
}

// nodes validates all endpoints and returns nodes for them.
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
	return list, fault.Join(faults...)
}

// outbound returns req with the node's address. The query and the path's spelling are kept.
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
	case !keepHost && unixsock.IsHost(u.Host):
		out.Host = "localhost"
	case !keepHost:
		out.Host = ""
	case out.Host == "": // net/http then uses the URL's
		out.Host = req.URL.Host
	}
	return out
}
