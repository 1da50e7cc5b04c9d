// Package apierror is the error type of the gateway's own responses, with handlers that
// render it in the form of the API that the client calls.
//
// [Abort], the default, writes an RFC 9457 problem that also has the "error" member of the
// OpenAI API, so that browsers, tools and both OpenAI SDKs understand it. [OpenAI],
// [Anthropic] and [Problem] write one form only. All four are a func(*gin.Context, error),
// the type of the ErrorHandler field of each Config in this module.
//
//	limits, err := ratelimit.New(ratelimit.Config{ErrorHandler: apierror.Anthropic, ...})
//
// A handler aborts the chain and records the error in c.Errors. What the client receives
// depends on the state of the response:
//
//   - nothing written: status, headers and a body;
//   - a server-sent event stream under way: the error as an event, never followed by
//     [DONE], and the stream ends visibly broken ([Cut]);
//   - any other response under way: it ends visibly broken.
//
// The cause (Err) is for logs and errors.Is; it is never sent to a client. An error of
// unknown type is rendered as a plain 500 without its text.
//
// # Codes
//
// Programs should go by the code, not by the message. These are the codes of all packages
// with the status of the response. Codes of batches are those of a batch's errors and
// lines; a job with such a fault is refused with 400.
//
//	Every package:
//	bad_body                     400  the body is unreadable or not of its type or encoding
//	bad_path                     400  programs could read the path differently
//	body_consumed                500  an earlier handler read the body and did not keep it
//	client_closed_request        499  the client disconnected; in logs only
//	duplicate_model              400  the body has several models
//	internal_error               500  an error of the gateway, or a panic
//	invalid_json                 400  the body is not a JSON object
//	invalid_model                400  the model is not a string
//	overloaded                   503  no capacity for the request or its body
//	request_timeout              408  the body did not arrive in time
//	request_too_large            413  the body is over its limit
//	timeout                      504  the request exceeded its deadline
//	unsupported_encoding         415  the body's Content-Encoding is unknown
//
//	auth:
//	auth_unavailable             503  the credential can't be checked now
//	insufficient_scope           403  the credential lacks a scope
//	invalid_api_key              401  the credential is invalid
//	ip_denied                    403  the client's address is not allowed
//	missing_credential           401  the request has no credential
//	model_not_allowed            403  the credential does not allow the model
//	model_unclear                400  the request does not name one model
//	unauthenticated              401  the request has no identity
//
//	ratelimit:
//	insufficient_quota           429  the budget is spent
//	limits_unavailable           503  the limits can't be checked now
//	no_limit_key                 400  the request has no key for a limit
//	rate_limit_exceeded          429  the rate limit is reached
//
//	cache:
//	idempotency_key_in_use       409  a request with this key is under way
//	idempotency_key_invalid      400  the Idempotency-Key is malformed
//	idempotency_key_missing      400  the request needs an Idempotency-Key
//	idempotency_key_reused       422  the key belongs to another request; also queue
//	only_if_cached               504  no response is cached
//
//	routing:
//	body_not_held                500  the model's name can't be set in the request
//	model_not_found              404  the model does not exist
//	no_decision                  500  no model version was selected
//	no_route                     404  no route matches the request
//
//	proxy, breaker and balance:
//	bad_request                  400  a part of the request is invalid
//	circuit_open                 503  the circuit is open
//	cooling_down                 429  the endpoints limit the rate of this caller
//	deadline_exceeded            504  the deadline of the request has passed
//	deadline_too_close           504  no response can begin before the deadline
//	invalid_timeout              400  the timeout of the request is malformed
//	loop_detected                508  the request passed this gateway before
//	method_not_allowed           405  the method is not supported
//	no_endpoint                  503  no endpoint is available
//	upgrade_not_supported        501  the protocol upgrade is not supported
//	upstream_credential          502  the upstream refused the gateway's credential
//	upstream_error               502  the upstream failed or sent an invalid response
//	upstream_failed              502  the upstream failed; 503 for a shared response
//	upstream_timeout             504  the upstream took too long
//	upstream_unreachable         502  no connection to the upstream
//
//	stream:
//	shutting_down                503  the server is shutting down
//	stream_exists                409  a stream with this name exists
//	stream_gap                   409  the stream can't resume at this event
//	stream_not_found             404  no stream has this name
//	stream_timeout               504  a time limit ended the stream
//	too_many_streams             503  too many streams are open
//
//	queue:
//	batch_finished               409  a finished batch can't be canceled
//	dead_letter_unreadable       409  the dead letter is unreadable
//	file_too_large               413  the file is over its limit
//	identity_too_large           400  the caller's identity is too large to store
//	invalid_after                400  after is not an ID of a dead letter
//	invalid_completion_window    400  completion_window is invalid
//	invalid_endpoint             400  endpoint is not allowed
//	invalid_expires_after        400  expires_after is invalid
//	invalid_expires_in           400  expires_in is out of range
//	invalid_form                 400  the form is malformed
//	invalid_idempotency_key      400  the Idempotency-Key is too long
//	invalid_input_file_id        400  input_file_id names no file
//	invalid_limit                400  limit is out of range
//	invalid_metadata             400  metadata is too large
//	invalid_output_expires_after 400  output_expires_after is invalid
//	invalid_priority             400  priority is unknown
//	invalid_purpose              400  purpose is not allowed
//	invalid_wait                 400  wait is not a duration
//	invalid_webhook_url          400  webhook.url is not allowed
//	job_cancelled                409  the job was canceled
//	job_expired                  410  the job expired before its end
//	job_finished                 409  the job has finished
//	missing_file                 400  the form has no file
//	no_owner                     400  the owner of the request is unknown
//	not_found                    404  the file, job or batch does not exist
//	queue_full                   429  the queue is full
//	queue_unavailable            503  the queue is unreachable
//	request_failed               502  the job's request failed
//	response_cut                 502  the job's response broke off
//	response_too_large           502  the job's response is too large to store
//	tenant_queue_full            429  the tenant has too many requests waiting
//	too_many_batches             429  the owner has too many unfinished batches
//	too_many_files               429  the owner has too many files
//	too_many_waiters             503  too many clients wait for jobs
//	webhooks_not_supported       400  webhooks are not enabled
//
//	Batches:
//	batch_cancelled            batch  the batch was canceled before this line
//	batch_expired              batch  the batch expired before this line
//	duplicate_custom_id        batch  custom_id is not unique
//	empty_file                 batch  the input file has no requests
//	invalid_body               batch  body is not an object, or has several stream members
//	invalid_custom_id          batch  custom_id is missing or too long
//	invalid_input_file         batch  the input file was deleted
//	invalid_json_line          batch  the line is not a JSON object
//	invalid_method             batch  method is not POST
//	invalid_type               batch  a member has the wrong type
//	invalid_url                batch  url is not the endpoint of the batch
//	line_too_long              batch  the line is over its limit
//	missing_required_parameter batch  a required member is missing
//	stream_not_supported       batch  stream is not supported
//	too_many_requests          batch  the batch has too many requests
package apierror
