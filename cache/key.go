package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"slices"

	"github.com/ginfer/ginfer/cache/internal/jcs"
	"github.com/ginfer/ginfer/internal/body"
)

// scratch is what it takes to make a key. It is used again.
type scratch struct {
	canon jcs.Canon
	text  []byte
	body  members
}

func newScratch() any { return &scratch{canon: jcs.Canon{Exact: true}} }

// maxScratch bounds what is kept for use again.
const maxScratch = 64 << 10

func (s *scratch) reset() { s.text = s.text[:0] }

// add adds a text to the key. Its length comes before it, so that nothing of one text can
// pass for a part of another.
func (s *scratch) add(text string) {
	s.addLength(len(text))
	s.text = append(s.text, text...)
}

func (s *scratch) addBytes(b []byte) {
	s.addLength(len(b))
	s.text = append(s.text, b...)
}

func (s *scratch) addLength(n int) {
	s.text = binary.BigEndian.AppendUint64(s.text, uint64(max(n, 0)))
}

// done is the key.
func (s *scratch) done() [sha256.Size]byte { return sha256.Sum256(s.text) }

// begin begins a key with what all have: the kind, whose request it is, and where to.
func (s *scratch) begin(kind string, x *exchange) {
	s.reset()
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
	var found [8]string
	names := found[:0]
	for name := range x.req.Header {
		if x.keyHeaders.has(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		values := x.req.Header[name]
		s.add(name)
		s.addLength(len(values))
		for _, v := range values {
			s.add(v)
		}
	}
}

// nameSet is a set of header names. Most names are not in it by their first letter.
type nameSet struct {
	first [256]bool
	names map[string]bool
}

func (n *nameSet) has(name string) bool { return name != "" && n.first[name[0]] && n.names[name] }

// credentials are the headers that say who asks.
func credentials() [4]string {
	return [...]string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"}
}

// ownBody is the whole body of a request, whose scope is found. A reason says that it is
// not cached.
func (x *exchange) ownBody(s *scratch) (text []byte, reason string, err error) {
	held, err := body.Hold(x.g)
	if err != nil {
		return nil, "", err
	}
	switch {
	case !held.Whole || int64(max(held.Len(), len(held.Bytes()))) > x.cfg.MaxRequest:
		return nil, "request-too-long", nil
	case held.Err() != nil:
		return nil, "request-unreadable", nil //nolint:nilerr // it passes the cache by
	case !x.findScope(s):
		return nil, "no-scope", nil
	}
	return held.Bytes(), "", nil
}

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
	s.reset()
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
func allKeyHeaders(more []string) *nameSet {
	set := &nameSet{names: map[string]bool{}}
	for _, name := range slices.Concat([]string{
		"Anthropic-Beta", "Anthropic-Version", "OpenAI-Beta", "OpenAI-Organization", "OpenAI-Project",
		"Forwarded", "Origin", "X-Forwarded-Host", "X-Forwarded-Path", "X-Forwarded-Port", "X-Forwarded-Prefix",
		"X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Uri", "X-Host", "X-Http-Host-Override",
		"X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Original-Host", "X-Original-Url", "X-Rewrite-Url",
	}, more) {
		name = http.CanonicalHeaderKey(name)
		set.names[name], set.first[name[0]] = true, true
	}
	return set
}
