package llm

import (
	"net/http"
	"strconv"
	"strings"
)

// Kind is what an error of an upstream is about.
type Kind uint8

// The kinds.
const (
	UnknownKind Kind = iota
	// BadRequest: any server would refuse the request.
	BadRequest
	// ContextLength: it is too long for the model; a larger one may take it.
	ContextLength
	// Quota: the credential has nothing left.
	Quota
	// Rate: the credential asks too often.
	Rate
	// Auth: the credential is not accepted, or may not do this.
	Auth
	// Overloaded: the server has too much to do.
	Overloaded
	// ServerFault: the server failed.
	ServerFault
)

// String is the name in logs.
func (k Kind) String() string {
	return [...]string{"unknown", "request", "context_length", "quota", "rate", "auth", "overloaded", "server"}[k]
}

// Error is what a response says that it failed of.
type Error struct {
	Kind    Kind
	Status  int // that is named in it; 0: none
	Type    string
	Code    string
	Message string // its beginning; it may name a credential, so it is not for clients
}

// Error implements error. It does not have the message: that may name a credential.
func (e *Error) Error() string {
	name := e.Code
	if name == "" || e.Status > 0 && name == strconv.Itoa(e.Status) && e.Type != "" {
		name = e.Type
	}
	if name == "" || len(name) > 64 {
		return "the response says that it failed: " + e.Kind.String()
	}
	return "the response says that it failed: " + strings.Map(printable, name)
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}

// kept is what was read of an error.
type kept struct {
	kind, code word
	message    [256]byte
	n          int
}

// keep is what an error says. Most responses have none, and no room for one.
func (s *Scanner) keep() *kept {
	if s.kept == nil {
		s.kept = new(kept)
	}
	return s.kept
}

func (k *kept) reset() { k.kind.n, k.code.n, k.n = 0, 0, 0 }

// server makes it a server's error, if nothing else is known of it.
func (k *kept) server() {
	if k.kind.n == 0 && k.code.n == 0 {
		k.kind.set([]byte("server_error"))
	}
}

func (k *kept) say(p []byte) { k.n += copy(k.message[k.n:], p) }

func (k *kept) error() *Error {
	e := &Error{Type: string(k.kind.bytes()), Code: string(k.code.bytes()), Message: string(k.message[:k.n])}
	if n, err := strconv.Atoi(e.Code); err == nil && n >= 100 && n <= 999 {
		e.Status = n
	}
	e.Kind = Classify(e.Status, e.Type, e.Code, e.Message)
	return e
}

// ReadError is what a response with a status of 400 or more says, or the beginning of its
// body. It is an error whatever the body is. A body that says that it failed counts for any
// status.
func ReadError(status int, h http.Header, body []byte) *Error {
	s := Scanner{}
	s.Reset(Unknown, h)
	s.keeps = true
	if s.form == jsonLines || s.form == unreadable && !Encoded(h) && looksLikeJSON(body) {
		s.form = jsonBody // servers forget to name it
	}
	_, _ = s.Write(body) // never fails
	e := s.keep().error()
	if name, _, _ := strings.Cut(h.Get("X-Amzn-Errortype"), ":"); name != "" && e.Type == "" {
		e.Type = name
	}
	if e.Status == 0 || status >= http.StatusBadRequest {
		e.Status = status
	}
	e.Kind = Classify(e.Status, e.Type, e.Code, e.Message)
	return e
}
