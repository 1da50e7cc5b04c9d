package admin

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
)

// sameOrigin refuses requests that another site makes a browser send: a visitor of that site
// may be able to reach this port, and must not change anything here unknowingly. Requests
// without a browser pass.
func sameOrigin() gin.HandlerFunc {
	protection := http.NewCrossOriginProtection()
	return func(c *gin.Context) {
		if err := protection.Check(c.Request); err != nil {
			apierror.Abort(c, &apierror.Error{Status: http.StatusForbidden, Code: "cross_site", Message: "Another site can't do this.", Err: err})
		}
	}
}

// knownHost refuses names that are not this port's: a site that rebinds its DNS name to this
// machine is the same origin to a browser.
func (h *Handler) knownHost(c *gin.Context) {
	host := hostName(c.Request.Host)
	if isPrivateName(host) || slices.ContainsFunc(h.g.Current().Config.Private.Hosts, func(name string) bool { return strings.EqualFold(name, host) }) {
		return
	}
	apierror.Abort(c, &apierror.Error{Status: http.StatusMisdirectedRequest, Code: "unknown_host", Message: "The private port is not known by this name: add it to private.hosts."})
}

func hostName(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		hostport = host
	}
	return strings.TrimSuffix(strings.Trim(hostport, "[]"), ".")
}

// isPrivateName reports whether a name is an address, or can't be registered.
func isPrivateName(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") {
		return true
	}
	host = strings.ToLower(host)
	return slices.ContainsFunc([]string{".svc", ".cluster.local", ".internal", ".localhost"}, func(suffix string) bool { return strings.HasSuffix(host, suffix) })
}
