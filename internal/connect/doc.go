// Package connect opens connections to upstreams, bounds how long each is used, and sends requests
// over them by an http.Transport. Names are followed: connections spread over the addresses of a
// name, and new addresses get connections within seconds.
package connect
