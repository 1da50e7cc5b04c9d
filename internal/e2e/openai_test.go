package e2e_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// example is the built-in configuration on free ports.
const example = `{` + ports + `, "groups": [
	{"path": "/v1", "routing": {"sticky_header": "X-User-Id", "table": {"routes": [
		{"model": "demo", "version": "v1.3", "conditions": {"headers": {"beta-user": "true"}}},
		{"model": "demo", "version": "v1.2", "weight": 90},
		{"model": "demo", "version": "v1.3", "weight": 10, "fallback": ["v1.2"]}]}},
		"proxy": {"retry_posts": true}}]}`

func newSDK(t *testing.T, p *process) openai.Client {
	t.Helper()
	return openai.NewClient(option.WithBaseURL(p.public+"/v1"), option.WithAPIKey(p.token), option.WithHTTPClient(newClient(t, 16)))
}

// ignoreEOS makes the demo model write until its token limit.
func ignoreEOS() option.RequestOption { return option.WithJSONSet("ignore_eos", true) }

func ask(prompt string, maxTokens int64) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: "demo", MaxTokens: openai.Int(maxTokens), Seed: openai.Int(7),
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(prompt)},
	}
}

// The OpenAI SDK works with the gateway and its demo model.
func TestOpenAISDK(t *testing.T) {
	p := start(t, example)
	sdk := newSDK(t, p)

	t.Run("models", func(t *testing.T) {
		list, err := sdk.Models.List(t.Context())
		require.NoError(t, err)
		require.Len(t, list.Data, 1)
		assert.Equal(t, "demo", list.Data[0].ID)
		one, err := sdk.Models.Get(t.Context(), "demo")
		require.NoError(t, err)
		assert.Equal(t, "demo", one.ID)
	})
	t.Run("completion and stream agree", func(t *testing.T) {
		params := ask("What is a gateway?", 30)
		whole, err := sdk.Chat.Completions.New(t.Context(), params, option.WithHeader("beta-user", "true"))
		require.NoError(t, err)
		require.Len(t, whole.Choices, 1)
		assert.NotEmpty(t, whole.Choices[0].Message.Content)
		assert.Contains(t, strings.ToLower(whole.Choices[0].Message.Content), "gateway")
		assert.EqualValues(t, 30, whole.Usage.CompletionTokens)

		params.StreamOptions.IncludeUsage = openai.Bool(true)
		stream := sdk.Chat.Completions.NewStreaming(t.Context(), params, option.WithHeader("beta-user", "true"))
		acc := openai.ChatCompletionAccumulator{}
		for stream.Next() {
			require.True(t, acc.AddChunk(stream.Current()))
		}
		require.NoError(t, stream.Err())
		assert.Equal(t, whole.Choices[0].Message.Content, acc.Choices[0].Message.Content)
		assert.Equal(t, whole.Usage.TotalTokens, acc.Usage.TotalTokens)
	})
	t.Run("the model ends by itself", func(t *testing.T) {
		whole, err := sdk.Chat.Completions.New(t.Context(), ask("What is a gateway?", 256))
		require.NoError(t, err)
		assert.Equal(t, "stop", whole.Choices[0].FinishReason)
		assert.True(t, strings.HasSuffix(whole.Choices[0].Message.Content, "."), whole.Choices[0].Message.Content)
	})
	t.Run("versions", func(t *testing.T) {
		var res *http.Response
		for range 5 {
			_, err := sdk.Chat.Completions.New(t.Context(), ask("x", 1), option.WithHeader("beta-user", "true"), option.WithResponseInto(&res))
			require.NoError(t, err)
			assert.Equal(t, "v1.3", res.Header.Get("X-Model-Version"))
		}
	})
	t.Run("cancel", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		stream := sdk.Chat.Completions.NewStreaming(ctx, ask("What is a gateway?", 4096), ignoreEOS())
		require.True(t, stream.Next())
		require.Equal(t, 1, p.inflight())
		cancel()
		for stream.Next() {
		}
		require.ErrorIs(t, stream.Err(), context.Canceled)
		p.awaitIdle()
	})
	t.Run("errors", func(t *testing.T) {
		var failed *openai.Error
		params := ask("x", 1)
		params.Model = "gpt-5"
		_, err := sdk.Chat.Completions.New(t.Context(), params)
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, http.StatusNotFound, failed.StatusCode)
		assert.Equal(t, "model_not_found", failed.Code)
		_, err = sdk.Chat.Completions.New(t.Context(), ask("x", 1), option.WithAPIKey("wrong"))
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, http.StatusUnauthorized, failed.StatusCode)
		assert.Equal(t, "invalid_api_key", failed.Code)
	})
	p.signal(interrupt)
	assert.Equal(t, 0, p.wait())
	assert.Contains(t, p.stderr.String(), "nothing was cut")
	assert.Equal(t, 1, strings.Count(p.stderr.String(), `"msg":"draining"`))
}
