package demomodel

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// Values of an error's type and code, as OpenAI has them.
const (
	typeInvalid = "invalid_request_error"
	typeRate    = "rate_limit_error"
	typeServer  = "server_error"

	codeInvalid = "invalid_value"
	codeMissing = "missing_required_parameter"
	codeType    = "invalid_type"
)

// statusCancelled answers a request that its client or a deadline has ended.
// Mostly nobody reads it, but logs do.
const statusCancelled = 499

// apiError is an error to answer with.
type apiError struct {
	status  int
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

// Error returns the message.
func (e *apiError) Error() string { return e.Message }

// invalid returns the error for a field.
func invalid(param, code, format string, args ...any) *apiError {
	return &apiError{http.StatusBadRequest, fmt.Sprintf(format, args...), typeInvalid, &param, &code}
}

// refusal returns the error for what is not about a field.
func refusal(status int, kind, code, message string) *apiError {
	return &apiError{status: status, Message: message, Type: kind, Code: &code}
}

// unknownModel returns the error for a model that is not served here.
func unknownModel(name string) *apiError {
	e := invalid("model", "model_not_found", "The model %q does not exist or you do not have access to it.", name)
	e.status = http.StatusNotFound
	return e
}

// writeError answers with e.
func writeError(w http.ResponseWriter, e *apiError) {
	if e.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, e.status, map[string]*apiError{"error": e})
}

// writeJSON answers with v. An error of the connection is the client's.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
