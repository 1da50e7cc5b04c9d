// Package demomodel is a very small language model behind an OpenAI-compatible
// API. It lets the examples show real inference (real tokens, a real queue,
// versions that really differ) with nothing to install.
//
//	model, err := demomodel.New(demomodel.Config{Version: "v2"})
//	http.ListenAndServe("127.0.0.1:8000", model)
//
// The model has 0.64 million parameters in 4 layers and was trained on text
// written for it. It responds to short English questions about gateways, makes
// small talk, writes little stories, and says so where it knows nothing. Version
// v1 is terse, with one sentence; v2 writes two or three.
//
// # Routes
//
//	POST /v1/chat/completions   JSON, or SSE with "stream": true
//	POST /v1/completions        likewise
//	GET  /v1/models             the one model
//	GET  /v1/models/{id}
//	GET  /health                {"status":"ok"} with the load
//
// Supported fields are model, messages or prompt, max_tokens,
// max_completion_tokens, temperature, top_p, stop, seed, n (1 only), stream,
// stream_options and ignore_eos. Other fields are ignored. The same weights, seed
// and request give the same text.
//
// The model ends a text by itself, v1 after some 15 tokens, v2 after some 50, and
// a story after some 60 or 100, unless max_tokens (default 256) or a stop string
// comes first. Usage does not count the end. With "ignore_eos": true, as in vLLM,
// the model begins further texts until max_tokens or a stop string, for load
// tests that need long responses.
//
// The model reads the last 128 tokens of a prompt, while usage counts all of
// them. It does not distinguish roles, and earlier messages of a chat hardly
// matter. A text completion is continued; the response to a question in it is on
// the same line.
//
// # Load
//
// At most Slots requests generate at a time and Queue more wait in order of
// arrival. A request beyond these gets status 429 with Retry-After before any
// work is done (fail closed). A client that disconnects frees its place within
// one token.
package demomodel
