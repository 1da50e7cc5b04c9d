package exchange_test

import (
	"net/http"
	"testing"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Servers report errors at the top of the body, without a Content-Type, or in a header.
func TestKindsOfErrorsInOddPlaces(t *testing.T) {
	t.Parallel()
	const amazon = "X-Amzn-Errortype"
	for name, tt := range map[string]struct {
		contentType, header, body string
		want                      llm.Kind
	}{
		"in an error object":      {"application/json", "", `{"error":{"message":"maximum context length is 10"}}`, llm.ContextLength},
		"at the top":              {"application/json", "", `{"message":"too many tokens: total number of tokens in the prompt cannot exceed 4081"}`, llm.ContextLength},
		"at the top, as of vLLM":  {"application/json", "", `{"object":"error","message":"This model's maximum context length is 10 tokens.","type":"BadRequestError","code":400}`, llm.ContextLength},
		"a string":                {"application/json", "", `{"error":"the input length exceeds the context length"}`, llm.ContextLength},
		"without a Content-Type":  {"", "", `{"error":{"code":"context_length_exceeded"}}`, llm.ContextLength},
		"at the top, without one": {"", "", `{"message":"too many tokens: total number of tokens in the prompt cannot exceed 4081"}`, llm.ContextLength},
		"in a header":             {"application/json", "ThrottlingException:http://x", `{"message":"slow down"}`, llm.Rate},
		"in a header alone":       {"", "ServiceUnavailableException", "", llm.Overloaded},
		"no JSON":                 {"", "", "bad request", llm.BadRequest},
		"HTML":                    {"text/html", "", "<html>too many tokens</html>", llm.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, req, _ := sent(t, "", "")
			e := judged(t, a, req, transport(func(r *http.Request) (*http.Response, error) {
				res := response(http.StatusBadRequest, tt.contentType, body(tt.body))
				if tt.header != "" {
					res.Header.Set(amazon, tt.header)
				}
				return res, nil
			}))
			require.Equal(t, http.StatusBadRequest, e.Status)
			assert.Equal(t, tt.want.String(), a.Kind().String())
		})
	}
}
