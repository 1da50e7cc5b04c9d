package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/http"
	"slices"

	"github.com/ginfer/ginfer/cache/internal/jcs"
)

// scratch is what it takes to make a key. It is used again.
type scratch struct {
	sum    hash.Hash
	canon  jcs.Canon
	length [8]byte
	out    []byte
	body   members
}

func newScratch() any { return &scratch{sum: sha256.New(), canon: jcs.Canon{Exact: true}} }

// add adds a text to the key. Its length comes before it, so that nothing of one text can
// pass for a part of another.
func (s *scratch) add(text string) {
	s.addLength(len(text))
	s.out = append(s.out[:0], text...)
	s.sum.Write(s.out)
}

func (s *scratch) addBytes(b []byte) {
	s.addLength(len(b))
	s.sum.Write(b)
}

func (s *scratch) addLength(n int) {
	binary.BigEndian.PutUint64(s.length[:], uint64(max(n, 0)))
	s.sum.Write(s.length[:])
}

// done is the key.
func (s *scratch) done() (key [sha256.Size]byte) {
	s.out = s.sum.Sum(s.out[:0])
	copy(key[:], s.out)
	return key
}

// begin begins a key with what all have: the kind, whose request it is, and where to.
func (s *scratch) begin(kind string, x *exchange) {
	s.sum.Reset()
	s.add(kind)
	s.addBytes(x.scope[:])
	s.add(x.version)
	s.address(x)
}

// address adds where a request goes to, byte for byte as the upstream will see it, and
// the headers that may change that.
func (s *scratch) address(x *exchange) {
	u := x.req.URL
	s.add(x.req.Host)
	s.add(u.EscapedPath())
	s.add(u.RawQuery)
	if u.ForceQuery {
		s.add("?")
	}
	for _, name := range x.keyHeaders {
		values := x.req.Header[name]
		if len(values) == 0 {
			continue
		}
		s.add(name)
		s.addLength(len(values))
		for _, v := range values {
			s.add(v)
		}
	}
}

// credentials are the headers that say who asks.
func credentials() [3]string { return [...]string{"Authorization", "X-Api-Key", "Api-Key"} }

// findScope finds out whose request it is. It reports whether anybody knows.
func (x *exchange) findScope(s *scratch) bool {
	if x.cfg.Shared {
		return true
	}
	if x.cfg.Scope != nil {
		name, err := x.cfg.Scope(x.g)
		x.scope = hashScope(name)
		return err == nil
	}
	s.sum.Reset()
	s.add("credentials")
	some := false
	for _, name := range credentials() {
		for _, v := range x.req.Header[name] {
			some = true
			s.add(name)
			s.add(v)
		}
	}
	x.scope = s.done()
	return some
}

func hashScope(name string) [sha256.Size]byte { return sha256.Sum256([]byte("scope\x00" + name)) }

// findVersion says which version will answer.
func (x *exchange) findVersion() {
	if x.cfg.Version != nil {
		x.version = x.cfg.Version(x.g)
	}
}

// allKeyHeaders are the request headers that tell requests apart: those of the APIs, and
// those by which some servers and frameworks are told another address or method, with
// which one client could choose what others get.
func allKeyHeaders(more []string) []string {
	names := []string{
		"Anthropic-Beta", "Anthropic-Version", "Openai-Beta", "Openai-Organization", "Openai-Project",
		"Forwarded", "Origin", "X-Forwarded-Host", "X-Forwarded-Path", "X-Forwarded-Port", "X-Forwarded-Prefix",
		"X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Uri", "X-Host", "X-Http-Host-Override",
		"X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Original-Host", "X-Original-Url", "X-Rewrite-Url",
	}
	for _, name := range more {
		names = append(names, http.CanonicalHeaderKey(name))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
