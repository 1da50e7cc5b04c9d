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

func (k *kept) reset() { k.kind.n, k.code.n, k.n = 0, 0, 0 }

func (k *kept) say(p []byte) { k.n += copy(k.message[k.n:], p) }

func (k *kept) error() *Error {
	e := &Error{Type: string(k.kind.bytes()), Code: string(k.code.bytes()), Message: string(k.message[:k.n])}
	if n, err := strconv.Atoi(e.Code); err == nil && n >= 100 && n <= 999 {
		e.Status = n
	}
	e.Kind = Classify(e.Status, e.Type, e.Code, e.Message)
	return e
}

// kinds are the names by which servers call their errors, as types and as codes, in lower
// case.
//
//nolint:gochecknoglobals // a constant
var kinds = map[string]Kind{
	"context_length_exceeded": ContextLength, "exceed_context_size_error": ContextLength, "context_window_exceeded": ContextLength,
	"string_above_max_length": ContextLength, "model_context_window_exceeded": ContextLength,

	"insufficient_quota": Quota, "billing_error": Quota, "billing_hard_limit_reached": Quota, "billing_not_active": Quota,
	"quota_exceeded": Quota, "insufficient_balance": Quota, "credits_exhausted": Quota,

	"rate_limit_error": Rate, "rate_limit_exceeded": Rate, "too_many_requests": Rate, "resource_exhausted": Rate, "rate_limited": Rate,

	"authentication_error": Auth, "permission_error": Auth, "permission_denied": Auth, "unauthenticated": Auth, "invalid_api_key": Auth,
	"unauthorized": Auth, "account_deactivated": Auth, "forbidden": Auth, "invalid_token": Auth,

	"overloaded_error": Overloaded, "overloaded": Overloaded, "engine_overloaded": Overloaded, "unavailable": Overloaded, "slow_down": Overloaded,
	"service_unavailable": Overloaded, "model_overloaded": Overloaded, "capacity_exceeded": Overloaded,

	"server_error": ServerFault, "api_error": ServerFault, "internal_error": ServerFault, "internal_server_error": ServerFault,
	"internalservererror": ServerFault, "internal": ServerFault, "deadline_exceeded": ServerFault, "timeout_error": ServerFault,
	"generation": ServerFault, "incomplete_generation": ServerFault,

	"invalid_request_error": BadRequest, "not_found_error": BadRequest, "request_too_large": BadRequest, "badrequesterror": BadRequest,
	"notfounderror": BadRequest, "content_filter": BadRequest, "content_policy_violation": BadRequest, "invalid_prompt": BadRequest,
	"validation": BadRequest, "invalid_argument": BadRequest, "failed_precondition": BadRequest, "out_of_range": BadRequest,
	"not_found": BadRequest, "unimplemented": BadRequest, "model_not_found": BadRequest, "unprocessable_entity": BadRequest,
	"invalid_image": BadRequest, "invalid_value": BadRequest, "unsupported_value": BadRequest, "missing_required_parameter": BadRequest,
	"unknown_parameter": BadRequest, "unsupported_parameter": BadRequest, "validationerror": BadRequest, "responsible_ai_policy_violation": BadRequest,
}

// Classify finds out what an error is about, by what names it most exactly: its code, its
// type, its message where that is plain, its status. Status is that of the response, or the
// one named in the error; 0 is none.
func Classify(status int, typ, code, message string) Kind {
	if k := kinds[strings.ToLower(code)]; k == ContextLength || k == Quota {
		return k
	}
	if k := kinds[strings.ToLower(typ)]; k == ContextLength || k == Quota {
		return k
	}
	if isTooLong(message) && status < http.StatusInternalServerError {
		return ContextLength
	}
	named, err := strconv.Atoi(code)
	if err == nil && named >= 400 && named <= 599 {
		if k := ofStatus(named); k != UnknownKind {
			return k
		}
	}
	for _, name := range [...]string{code, typ} {
		if k := kinds[strings.ToLower(name)]; k != UnknownKind {
			return k
		}
	}
	return ofStatus(status)
}

// isTooLong knows the words of servers that have no code for it.
func isTooLong(message string) bool {
	m := strings.ToLower(message)
	for _, words := range [...]string{
		"maximum context length", "context window", "context length", "prompt is too long", "input is too long", "exceeds the available context",
		"must have less than", "too many input tokens", "input token count", "exceeds the maximum number of tokens", "reduce the length of the messages",
	} {
		if strings.Contains(m, words) {
			return true
		}
	}
	return false
}

// ofStatus is what a status alone says.
func ofStatus(status int) Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return Auth
	case http.StatusPaymentRequired:
		return Quota
	case http.StatusTooManyRequests:
		return Rate
	case http.StatusRequestTimeout:
		return UnknownKind
	case http.StatusNotImplemented:
		return BadRequest
	case http.StatusServiceUnavailable, 529:
		return Overloaded
	}
	switch {
	case status >= 400 && status < 500:
		return BadRequest
	case status >= 500 && status <= 599:
		return ServerFault
	}
	return UnknownKind
}
