package main

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
)

// sameOrigin refuses what another site has a browser send: whoever reads that site can
// reach this port, and must not change anything here without knowing. What is not a
// browser passes.
func sameOrigin() gin.HandlerFunc {
	protection := http.NewCrossOriginProtection()
	return func(c *gin.Context) {
		if err := protection.Check(c.Request); err != nil {
			apierror.Abort(c, &apierror.Error{Status: http.StatusForbidden, Code: "cross_site", Message: "Another site can't do this.", Err: err})
		}
	}
}

// knownHost refuses names that are not this port's: to a browser, a site whose name now
// means this machine is the same origin as itself.
func (g *gateway) knownHost(c *gin.Context) {
	host := hostName(c.Request.Host)
	if isPrivateName(host) || slices.ContainsFunc(g.current.Load().cfg.Private.Hosts, func(name string) bool { return strings.EqualFold(name, host) }) {
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

// isPrivateName tells addresses and names that nobody can register.
func isPrivateName(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") {
		return true
	}
	host = strings.ToLower(host)
	return slices.ContainsFunc([]string{".svc", ".cluster.local", ".internal", ".localhost"}, func(suffix string) bool { return strings.HasSuffix(host, suffix) })
}
