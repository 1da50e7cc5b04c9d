package llm

import (
	"net/http"
	"strconv"
	"strings"
)

// Kind is the reason of an upstream's error.
type Kind uint8

// The reasons.
const (
	UnknownKind Kind = iota
	// BadRequest: any server would refuse the request.
	BadRequest
	// ContextLength: the request is too long for the model; a larger one may take it.
	ContextLength
	// Quota: the credential's quota is spent.
	Quota
	// Rate: the credential exceeds its rate.
	Rate
	// Auth: the credential is invalid or lacks a permission.
	Auth
	// Overloaded: the server is overloaded.
	Overloaded
	// ServerFault: the server failed.
	ServerFault
)

// String returns the name in logs.
func (k Kind) String() string {
	return [...]string{"unknown", "request", "context_length", "quota", "rate", "auth", "overloaded", "server"}[k]
}

// Error is an error that a response reports.
type Error struct {
	Kind    Kind
	Status  int // in the body; 0 if none
	Type    string
	Code    string
	Message string // the beginning of it; it may contain a credential, so it is not for clients
}

// Error implements error. It omits the message, which may contain a credential.
func (e *Error) Error() string {
	name := e.Code
	if name == "" || e.Status > 0 && name == strconv.Itoa(e.Status) && e.Type != "" {
		name = e.Type
	}
	if name == "" || len(name) > 64 {
		return "the response is an error: " + e.Kind.String()
	}
	return "the response is an error: " + strings.Map(printable, name)
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}

// kept is the part of an error that was read.
type kept struct {
	kind, code word
	message    [256]byte
	n          int
}

// keep returns s.kept, which is allocated only for errors.
func (s *interpreter) keep() *kept {
	if s.kept == nil {
		s.kept = new(kept)
	}
	return s.kept
}

func (k *kept) isZero() bool { return k.kind.n == 0 && k.code.n == 0 && k.n == 0 }

func (k *kept) reset() { k.kind.n, k.code.n, k.n = 0, 0, 0 }

// server sets a server error, unless the error has a type or code.
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

// ExpectError prepares a scanner, which was just reset, for the body of a response with a status
// of 400 or more: its text is an error whatever its members are called. Servers may omit the
// Content-Type, and Bedrock has the type in a header.
func (s *Scanner) ExpectError(h http.Header) {
	s.keeps = true
	if s.form == jsonLines || s.form == unreadable && !Encoded(h) && h.Get("Content-Type") == "" {
		s.form = jsonBody
	}
	if name, _, _ := strings.Cut(h.Get("X-Amzn-Errortype"), ":"); name != "" {
		s.keep().kind.set([]byte(name))
	}
}
