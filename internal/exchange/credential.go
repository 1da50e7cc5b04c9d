package exchange

import (
	"net/http"
	"slices"
	"strings"
)

// credentialHeaders are where clients put their credentials.
//
//nolint:gochecknoglobals // a constant
var credentialHeaders = [...]string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Ocp-Apim-Subscription-Key"}

// Credentials are those of a request, in a form that can be compared: its headers, and the
// key of its query.
func Credentials(r *http.Request) string {
	var b strings.Builder
	for _, name := range credentialHeaders {
		for _, v := range r.Header[name] {
			b.WriteString(v)
			b.WriteByte(0)
		}
	}
	if r.URL != nil && (strings.Contains(r.URL.RawQuery, "key=") || strings.Contains(r.URL.RawQuery, "access_token=")) {
		b.WriteString(r.URL.RawQuery)
	}
	return b.String()
}

// sender is whose credential a request goes upstream with.
type sender uint8

const (
	nobody sender = iota // there is none, or it is not known whose
	client
	operator
)

// sender finds out whose credential the request has.
func (x *Exchange) sender(out *http.Request) sender {
	if !x.Known {
		return nobody
	}
	switch Credentials(out) {
	case "":
		return nobody
	case x.Credentials:
		return client
	}
	return operator
}

// IsCredential reports whether a header field, by its canonical name, is one in which
// clients put their credentials.
func IsCredential(name string) bool { return slices.Contains(credentialHeaders[:], name) }
