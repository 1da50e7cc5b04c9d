// Package rfc9111 implements the rules of RFC 9111 for a shared cache: whether a response
// may be stored, for how long it is fresh, when a stored one may be reused, and what a
// conditional request needs. It keeps nothing and makes no requests.
//
//	control := rfc9111.ParseRequest(req.Header)
//	life, reason := rules.Assess(&rfc9111.Response{Status: 200, Header: header, RequestTime: sent, Received: now})
//	if reason == "" {
//		reuse := life.Reuse(&control, now)
//	}
//
// It fails closed: a directive that cannot be parsed counts as the stricter one.
package rfc9111
