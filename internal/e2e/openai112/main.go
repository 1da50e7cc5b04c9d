// Command openai112 calls a gateway with one release of openai-go. It reads scenes as JSON and
// prints the outcome of each. The copies beside it differ only in the release.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"sync"

	"github.com/openai/openai-go"
	"github.com/openai/openai-go/option"
	"github.com/openai/openai-go/responses"
)

// scene is one request.
type scene struct {
	Name, API, Base, Model string
	Stream, Usage          bool
	Extra                  map[string]any // additional members
}

// result is what the SDK returned.
type result struct {
	Text   string `json:"text"`
	Finish string `json:"finish"`
	Tool   string `json:"tool"`
	Usage  int64  `json:"usage"`
	Failed string `json:"failed"` // code of response.failed
	Error  *fault `json:"error"`
}

type fault struct {
	Class   string `json:"class"`
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

var codePattern = regexp.MustCompile(`"code":\s*"([^"]*)"`)

// fail records an error, with status and code where the SDK has a type for it.
func (r *result) fail(err error) {
	if err == nil || r.Error != nil {
		return
	}
	r.Error = &fault{Class: fmt.Sprintf("%T", err), Message: err.Error()}
	if e := (*openai.Error)(nil); errors.As(err, &e) {
		r.Error.Status, r.Error.Code = e.StatusCode, e.Code
	} else if code := codePattern.FindStringSubmatch(err.Error()); code != nil {
		r.Error.Code = code[1]
	}
}

func (s *scene) options() (all []option.RequestOption) {
	for name, value := range s.Extra {
		all = append(all, option.WithJSONSet(name, value))
	}
	return all
}

func chat(ctx context.Context, client openai.Client, s *scene) *result {
	params := openai.ChatCompletionNewParams{Model: s.Model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hi")}}
	if s.Usage {
		params.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	}
	r := &result{}
	if !s.Stream {
		res, err := client.Chat.Completions.New(ctx, params, s.options()...)
		r.fail(err)
		if err == nil {
			r.Text, r.Finish, r.Usage = res.Choices[0].Message.Content, res.Choices[0].FinishReason, res.Usage.TotalTokens
		}
		return r
	}
	stream := client.Chat.Completions.NewStreaming(ctx, params, s.options()...)
	defer func() { _ = stream.Close() }()
	var whole openai.ChatCompletionAccumulator
	for stream.Next() {
		whole.AddChunk(stream.Current())
	}
	r.fail(stream.Err())
	r.Usage = whole.Usage.TotalTokens
	if len(whole.Choices) > 0 {
		choice := whole.Choices[0]
		r.Text, r.Finish = choice.Message.Content, choice.FinishReason
		for _, call := range choice.Message.ToolCalls {
			r.Tool += call.Function.Name + call.Function.Arguments
		}
	}
	return r
}

func respond(ctx context.Context, client openai.Client, s *scene) *result {
	params := responses.ResponseNewParams{Model: s.Model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("hi")}}
	r := &result{}
	if !s.Stream {
		res, err := client.Responses.New(ctx, params, s.options()...)
		r.fail(err)
		if err == nil {
			r.Text, r.Finish, r.Usage = res.OutputText(), string(res.Status), res.Usage.TotalTokens
		}
		return r
	}
	stream := client.Responses.NewStreaming(ctx, params, s.options()...)
	defer func() { _ = stream.Close() }()
	for stream.Next() {
		switch e := stream.Current().AsAny().(type) {
		case responses.ResponseTextDeltaEvent:
			r.Text += e.Delta
		case responses.ResponseOutputItemDoneEvent:
			r.Tool += e.Item.Name + e.Item.AsFunctionCall().Arguments
		case responses.ResponseCompletedEvent:
			r.Finish, r.Usage = string(e.Response.Status), e.Response.Usage.TotalTokens
		case responses.ResponseFailedEvent:
			r.Failed = string(e.Response.Error.Code)
			r.fail(fmt.Errorf("failed: %s", e.RawJSON()))
		case responses.ResponseErrorEvent:
			r.fail(fmt.Errorf("error event: %s", e.RawJSON()))
		}
	}
	r.fail(stream.Err())
	return r
}

func main() {
	var scenes []scene
	if err := json.NewDecoder(os.Stdin).Decode(&scenes); err != nil {
		panic(err)
	}
	results := make(map[string]*result, len(scenes))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range scenes {
		s := &scenes[i]
		call, ok := map[string]func(context.Context, openai.Client, *scene) *result{"chat": chat, "responses": respond}[s.API]
		if !ok {
			continue
		}
		wg.Go(func() {
			client := openai.NewClient(option.WithBaseURL(s.Base), option.WithAPIKey(os.Getenv("TOKEN")), option.WithMaxRetries(0))
			r := call(context.Background(), client, s)
			mu.Lock()
			defer mu.Unlock()
			results[s.Name] = r
		})
	}
	wg.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(results); err != nil {
		panic(err)
	}
}
