package demomodel

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// Values of an error's type and code, as in OpenAI's API.
const (
	typeInvalid = "invalid_request_error"
	typeRate    = "rate_limit_error"
	typeServer  = "server_error"

	codeInvalid = "invalid_value"
	codeMissing = "missing_required_parameter"
	codeType    = "invalid_type"
)

// statusCancelled is the status of a request that its client or a deadline ended.
// It mostly serves logs: the client has usually disconnected.
const statusCancelled = 499

// apiError is an error response.
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

// refusal returns an error that concerns no single field.
func refusal(status int, kind, code, message string) *apiError {
	return &apiError{status: status, Message: message, Type: kind, Code: &code}
}

// unknownModel returns the error for a model that is not served here.
func unknownModel(name string) *apiError {
	e := invalid("model", "model_not_found", "The model %q does not exist or you do not have access to it.", name)
	e.status = http.StatusNotFound
	return e
}

// writeError writes e as the response.
func writeError(w http.ResponseWriter, e *apiError) {
	if e.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, e.status, map[string]*apiError{"error": e})
}

// writeJSON writes v as the response. It ignores errors of the connection.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
