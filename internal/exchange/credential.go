package exchange

import (
	"net/http"
	"slices"
	"strings"
)

// credentialHeaders are the header fields in which clients send credentials.
//
//nolint:gochecknoglobals // a constant
var credentialHeaders = [...]string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Ocp-Apim-Subscription-Key"}

// Credentials returns the credentials of a request in a comparable form: its headers, and its
// query if that has a key.
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

// sender identifies the owner of the credential that a request goes upstream with.
type sender uint8

const (
	unknownSender sender = iota // no credential, or an unknown owner
	client
	operator
)

// sender returns the owner of the request's credential.
func (x *Exchange) sender(out *http.Request) sender {
	if !x.Known {
		return unknownSender
	}
	switch Credentials(out) {
	case "":
		return unknownSender
	case x.Credentials:
		return client
	}
	return operator
}

// IsCredential reports whether clients send credentials in the header field with this canonical
// name.
func IsCredential(name string) bool { return slices.Contains(credentialHeaders[:], name) }
