package llm_test

import (
	"net/http"
	"testing"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Errors of servers and their kinds. The first column is the status of the response; in a
// stream it is 200, and only the body is known.
func TestErrorsOfServers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status int
		body   string
		want   llm.Kind
	}{
		"OpenAI, context":        {400, `{"error":{"message":"This model's maximum context length is 4097 tokens","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`, llm.ContextLength},
		"OpenAI, quota":          {429, `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`, llm.Quota},
		"OpenAI, rate":           {429, `{"error":{"message":"Rate limit reached for gpt-4o","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`, llm.Rate},
		"OpenAI, request's rate": {413, `{"error":{"message":"Request too large for gpt-4 on tokens per min (TPM)","type":"tokens","code":"rate_limit_exceeded"}}`, llm.Rate},
		"OpenAI, key":            {401, `{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`, llm.Auth},
		"OpenAI, country":        {403, `{"error":{"code":"unsupported_country_region_territory","message":"Country not supported","param":null,"type":"request_forbidden"}}`, llm.Auth},
		"OpenAI, billing":        {429, `{"error":{"message":"x","type":"billing_not_active","code":"billing_not_active"}}`, llm.Quota},
		"OpenAI, no model":       {404, `{"error":{"message":"The model x does not exist","type":"invalid_request_error","param":null,"code":"model_not_found"}}`, llm.BadRequest},
		"OpenAI, parameter":      {400, `{"error":{"message":"Unsupported value","type":"invalid_request_error","param":"temperature","code":"unsupported_value"}}`, llm.BadRequest},
		"OpenAI, long string":    {400, `{"error":{"message":"string too long","type":"invalid_request_error","code":"string_above_max_length"}}`, llm.BadRequest},
		"OpenAI, policy":         {400, `{"error":{"code":"content_policy_violation","message":"x","type":"image_generation_user_error"}}`, llm.BadRequest},
		"OpenAI, server":         {500, `{"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}}`, llm.ServerFault},
		"OpenAI, busy":           {503, `{"error":{"message":"That model is currently overloaded","type":"server_error","param":null,"code":null}}`, llm.ServerFault},
		"OpenAI, slow down":      {503, `{"error":{"message":"x","type":"service_unavailable","code":"slow_down"}}`, llm.Overloaded},
		"OpenAI, only a status":  {503, ``, llm.Overloaded},

		"Azure, rate":       {429, `{"error":{"code":"429","message":"Requests have exceeded token rate limit"}}`, llm.Rate},
		"Azure, named rate": {429, `{"error":{"code":"RateLimitReached","message":"x"}}`, llm.Rate},
		"Azure, key":        {401, `{"error":{"code":"401","message":"Access denied due to invalid subscription key"}}`, llm.Auth},
		"Azure, permission": {401, `{"error":{"code":"PermissionDenied","message":"x"}}`, llm.Auth},
		"Azure, deployment": {404, `{"error":{"code":"DeploymentNotFound","message":"x"}}`, llm.BadRequest},
		"Azure, filter":     {400, `{"error":{"message":"filtered","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}`, llm.BadRequest},
		"Azure, no token":   {401, `{"statusCode":401,"message":"Unauthorized. Access token is missing, invalid"}`, llm.Auth},
		"Azure, internal":   {500, `{"error":{"code":"InternalServerError","message":"x"}}`, llm.ServerFault},

		"Anthropic, request":    {400, `{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: Field required"}}`, llm.BadRequest},
		"Anthropic, context":    {400, `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 maximum"}}`, llm.ContextLength},
		"Anthropic, with room":  {400, `{"type":"error","error":{"type":"invalid_request_error","message":"input length and max_tokens exceed context limit: 188240 + 21333 > 200000"}}`, llm.ContextLength},
		"Anthropic, credit":     {400, `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}`, llm.Quota},
		"Anthropic, billing":    {402, `{"type":"error","error":{"type":"billing_error","message":"x"}}`, llm.Quota},
		"Anthropic, key":        {401, `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}`, llm.Auth},
		"Anthropic, permission": {403, `{"type":"error","error":{"type":"permission_error","message":"x"}}`, llm.Auth},
		"Anthropic, no model":   {404, `{"type":"error","error":{"type":"not_found_error","message":"model: x"}}`, llm.BadRequest},
		"Anthropic, too large":  {413, `{"type":"error","error":{"type":"request_too_large","message":"x"}}`, llm.BadRequest},
		"Anthropic, rate":       {429, `{"type":"error","error":{"type":"rate_limit_error","message":"x"}}`, llm.Rate},
		"Anthropic, server":     {500, `{"type":"error","error":{"type":"api_error","message":"Internal server error"}}`, llm.ServerFault},
		"Anthropic, timeout":    {504, `{"type":"error","error":{"type":"timeout_error","message":"x"}}`, llm.ServerFault},
		"Anthropic, overloaded": {529, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, llm.Overloaded},

		"Gemini, argument":  {400, `{"error":{"code":400,"message":"Invalid value","status":"INVALID_ARGUMENT"}}`, llm.BadRequest},
		"Gemini, key":       {400, `{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}`, llm.Auth},
		"Gemini, denied":    {403, `{"error":{"code":403,"message":"x","status":"PERMISSION_DENIED"}}`, llm.Auth},
		"Gemini, no model":  {404, `{"error":{"code":404,"message":"models/x is not found","status":"NOT_FOUND"}}`, llm.BadRequest},
		"Gemini, context":   {400, `{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048575).","status":"INVALID_ARGUMENT"}}`, llm.ContextLength},
		"Gemini, exhausted": {429, `{"error":{"code":429,"message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED"}}`, llm.Rate},
		"Gemini, internal":  {500, `{"error":{"code":500,"message":"x","status":"INTERNAL"}}`, llm.ServerFault},
		"Gemini, busy":      {503, `{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}`, llm.Overloaded},
		"Gemini, deadline":  {504, `{"error":{"code":504,"message":"x","status":"DEADLINE_EXCEEDED"}}`, llm.ServerFault},

		"vLLM, context":     {400, `{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens","type":"BadRequestError","param":null,"code":400}`, llm.ContextLength},
		"vLLM, new context": {400, `{"error":{"message":"The decoder prompt (length 5000) is longer than the maximum model length of 4096.","type":"BadRequestError","param":null,"code":400}}`, llm.ContextLength},
		"vLLM, no model":    {404, `{"object":"error","message":"The model x does not exist.","type":"NotFoundError","param":null,"code":404}`, llm.BadRequest},
		"vLLM, dead":        {500, `{"object":"error","message":"","type":"InternalServerError","param":null,"code":500}`, llm.ServerFault},
		"vLLM, key":         {401, `{"error":"Unauthorized"}`, llm.Auth},
		"SGLang, context":   {400, `{"object":"error","message":"The input (5000 tokens) is longer than the model's context length (4096 tokens).","type":"BadRequest","code":400}`, llm.ContextLength},

		"TGI, validation":  {422, "{\"error\":\"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3000\",\"error_type\":\"validation\"}", llm.ContextLength},
		"TGI, parameter":   {422, `{"error":"Input validation error: temperature must be strictly positive","error_type":"validation"}`, llm.BadRequest},
		"TGI, overloaded":  {429, `{"error":"Model is overloaded","error_type":"overloaded"}`, llm.Overloaded},
		"TGI, generation":  {424, `{"error":"Request failed during generation: Server error","error_type":"generation"}`, llm.ServerFault},
		"TGI, in a stream": {200, `{"error":{"message":"Request failed","http_status_code":424}}`, llm.ServerFault},

		"llama.cpp, context":     {400, `{"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9,"n_ctx":8}}`, llm.ContextLength},
		"llama.cpp, loading":     {503, `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`, llm.Overloaded},
		"llama.cpp, key":         {401, `{"error":{"code":401,"message":"Invalid API Key","type":"authentication_error"}}`, llm.Auth},
		"llama.cpp, unsupported": {501, `{"error":{"code":501,"message":"This server does not support embeddings.","type":"not_supported_error"}}`, llm.BadRequest},

		"Ollama, no model": {404, `{"error":"model 'x' not found"}`, llm.BadRequest},
		"Ollama, busy":     {503, `{"error":"server busy, please try again.  maximum pending requests exceeded"}`, llm.Overloaded},
		"Ollama, runner":   {500, `{"error":"llama runner process has terminated: exit status 2"}`, llm.ServerFault},
		"Ollama, context":  {400, `{"error":"the input length exceeds the context length"}`, llm.ContextLength},
		"Ollama, a stream": {200, `{"error":"an error was encountered while running the model"}`, llm.UnknownKind},

		"Mistral, rate":     {429, `{"object":"error","message":"Requests rate limit exceeded","type":"rate_limited","param":null,"code":"1300"}`, llm.Rate},
		"Mistral, capacity": {429, `{"object":"error","message":"Service tier capacity exceeded for this model.","type":"service_tier_capacity_exceeded","param":null,"code":"3505"}`, llm.Overloaded},
		"Mistral, model":    {400, `{"object":"error","message":"Invalid model: x","type":"invalid_model","param":null,"code":"1500"}`, llm.BadRequest},
		"Mistral, key":      {401, `{"message":"Unauthorized","request_id":"x"}`, llm.Auth},
		"Mistral, fields":   {422, `{"detail":[{"type":"missing","loc":["body","messages"],"msg":"Field required"}]}`, llm.BadRequest},

		"DeepSeek, balance": {402, `{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}`, llm.Quota},
		"DeepSeek, key":     {401, `{"error":{"message":"Authentication Fails (no such user)","type":"authentication_error","param":null,"code":"invalid_request_error"}}`, llm.Auth},
		"DeepSeek, busy":    {503, `{"error":{"message":"busy","type":"service_unavailable_error","param":null,"code":"service_unavailable_error"}}`, llm.Overloaded},

		"Cohere, key":    {401, `{"message":"invalid api token"}`, llm.Auth},
		"Cohere, rate":   {429, `{"message":"You are using a Trial key, which is limited to 10 API calls / minute."}`, llm.Rate},
		"Cohere, tokens": {400, `{"message":"too many tokens: total number of tokens in the prompt cannot exceed 4081"}`, llm.ContextLength},

		"OpenRouter, credits":  {402, `{"error":{"code":402,"message":"Insufficient credits"}}`, llm.Quota},
		"OpenRouter, provider": {200, `{"error":{"code":502,"message":"Provider returned error"}}`, llm.ServerFault},
		"Moonshot, quota":      {403, `{"error":{"type":"exceeded_current_quota_error","message":"x"}}`, llm.Quota},
		"no details":           {200, `{"error":{"message":"something"}}`, llm.UnknownKind},
		"a timeout":            {408, ``, llm.UnknownKind},
		"a gateway":            {502, `<html>`, llm.ServerFault},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := readError(tt.status, http.Header{"Content-Type": {jsonType}}, []byte(tt.body))
			require.NotNil(t, err)
			assert.Equal(t, tt.want.String(), err.Kind.String())
		})
	}
}

// Bedrock sends the error type in a header.
func TestErrorsOfBedrock(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]llm.Kind{
		"ThrottlingException": llm.Rate, "ValidationException": llm.BadRequest, "AccessDeniedException": llm.Auth, "ModelErrorException": llm.ServerFault,
		"ModelTimeoutException": llm.ServerFault, "InternalServerException": llm.ServerFault, "ServiceUnavailableException": llm.Overloaded,
		"ModelNotReadyException": llm.Overloaded, "ResourceNotFoundException": llm.BadRequest, "ServiceQuotaExceededException": llm.Rate,
	} {
		h := http.Header{"Content-Type": {jsonType}, "X-Amzn-Errortype": {name + ":http://internal.amazon.com/coral/com.amazon.bedrock/"}}
		assert.Equal(t, want, readError(http.StatusBadRequest, h, []byte(`{"message":"Too many tokens, please wait"}`)).Kind, name)
	}
	h := http.Header{"Content-Type": {jsonType}, "X-Amzn-Errortype": {"ValidationException"}}
	assert.Equal(t, llm.ContextLength, readError(http.StatusBadRequest, h, []byte(`{"message":"Input is too long for requested model."}`)).Kind)
}

func TestErrorOmitsMessage(t *testing.T) {
	t.Parallel()
	err := readError(401, http.Header{"Content-Type": {jsonType}}, []byte(`{"error":{"message":"Incorrect API key provided: sk-12**34","code":"invalid_api_key"}}`))
	require.EqualError(t, err, "the response is an error: invalid_api_key")
	assert.Equal(t, 401, err.Status)
	assert.Contains(t, err.Message, "sk-12")
}

// readError reads the error of a response; its kind is that of its status, where the body names
// none.
func readError(status int, h http.Header, body []byte) *llm.Error {
	var s llm.Scanner
	s.Reset(llm.Unknown, h)
	if status >= http.StatusBadRequest {
		s.ExpectError(h)
	}
	_, _ = s.Write(body)
	e := s.Failure()
	if e == nil {
		e = new(llm.Error)
	}
	if e.Status == 0 || status >= http.StatusBadRequest {
		e.Status = status
	}
	e.Kind = llm.Classify(e.Status, e.Type, e.Code, e.Message)
	return e
}
