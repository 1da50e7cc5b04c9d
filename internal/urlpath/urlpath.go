// Package urlpath refuses request paths that two programs may interpret differently.
package urlpath

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/ginfer/ginfer/apierror"
)

// Check is CheckRelay for a gateway that decides by the path: it refuses all control characters,
// which some servers remove.
func Check(u *url.URL) error {
	if err := CheckRelay(u); err != nil {
		return err
	}
	if suspicious(u.Path) && strings.ContainsFunc(u.Path, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return refuse("a control character")
	}
	return nil
}

// CheckRelay returns an *apierror.Error with status 400 and code "bad_path" if the decoded path
// has a "." or ".." segment, a backslash, or a NUL. A gateway decides by the path as sent; an
// upstream that resolves such a path would serve another one (the class of CVE-2022-2880,
// traefik 2025-66490, oauth2-proxy 2025-54576). Other control characters pass, encoded, as
// with nginx, Envoy and Caddy.
func CheckRelay(u *url.URL) error {
	path := u.Path
	if !suspicious(path) {
		return nil
	}
	for segment := range strings.SplitSeq(path, "/") {
		// Servlet containers remove path parameters before resolving: "..;x" is "..".
		if name, _, _ := strings.Cut(segment, ";"); name == "." || name == ".." {
			return refuse("a dot segment")
		}
	}
	if strings.Contains(path, `\`) {
		return refuse("a backslash")
	}
	if strings.Contains(path, "\x00") {
		return refuse("a control character")
	}
	return nil
}

// suspicious is a fast check that nearly every path passes.
func suspicious(path string) bool {
	for i := range len(path) {
		switch c := path[i]; {
		case c < ' ', c == '\\', c == 0x7f:
			return true
		case c == '.' && (i == 0 || path[i-1] == '/'):
			return true
		}
	}
	return false
}

func refuse(what string) error {
	return &apierror.Error{Status: http.StatusBadRequest, Code: "bad_path", Message: "The request path has " + what + "."}
}
