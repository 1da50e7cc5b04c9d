// Package demomodel is a very small language model that answers as an OpenAI
// API does. It lets the examples show real inference (real tokens, a real
// queue, versions of really different quality) with nothing to install.
//
//	model, err := demomodel.New(demomodel.Config{Version: "v2"})
//	http.ListenAndServe("127.0.0.1:8000", model)
//
// The model has 0.54 million parameters in 4 layers and was trained on the doc
// comments of the Go standard library, so it sounds like them and knows
// nothing. Version v1 is an early checkpoint and v2 the final one.
//
// # Routes
//
//	POST /v1/chat/completions   JSON, or SSE with "stream": true
//	POST /v1/completions        likewise
//	GET  /v1/models             the one model
//	GET  /v1/models/{id}
//	GET  /health                {"status":"ok"} with the load
//
// Understood are model, messages or prompt, max_tokens, max_completion_tokens,
// temperature, top_p, stop, seed, n (1 only), stream and stream_options. Other
// fields are ignored. The same weights, seed and request give the same text.
//
// The model ends a sentence after some twenty tokens. It then begins another,
// until max_tokens or a stop string. It reads the last 64 tokens of a prompt,
// while usage counts all of them.
//
// # Load
//
// At most Slots requests generate at a time and Queue more wait in order of
// arrival. A request beyond these gets status 429 with Retry-After: it is
// refused before any work is done (closed). A client that leaves frees its
// place within one token.
package demomodel
