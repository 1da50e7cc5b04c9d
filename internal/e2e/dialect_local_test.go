package e2e_test

// ollamaStatuses are Ollama's errors: texts without a kind.
func ollamaStatuses() dialectStatuses {
	return dialectStatuses{
		kindServer:  {"500 Internal Server Error", `{"error":"llama runner process has terminated: signal: killed"}`},
		kindRequest: {"400 Bad Request", `{"error":"\"llama3.2\" does not support thinking"}`},
		kindQuota:   {"429 Too Many Requests", `{"error":"you've reached your hourly usage limit, please upgrade to continue"}`},
	}
}

func ollamaErrors() dialectErrors {
	return dialectErrors{kindUnknown: linesOf(`{"error":"an error was encountered while running the model: unexpected EOF"}`)}
}

const ollamaTimes = `,"total_duration":883583458,"load_duration":1334875,"prompt_eval_count":26,"prompt_eval_duration":342546000,"eval_count":9,"eval_duration":535599000}`

// ollamaChat is /api/chat, a JSON document per line; done finishes it.
func ollamaChat() dialect {
	line := func(message, more string) string {
		return linesOf(`{"model":"llama3.2","created_at":"2025-08-04T08:52:19.385406455Z","message":{"role":"assistant",` + message + `},"done":` + more)
	}
	ask := dialectRequest{path: "/api/chat", body: `{"model":"llama3.2","messages":[{"role":"user","content":"Say hello in five words."}]}`}
	return dialect{
		name: "ollama chat", form: formLines, media: "application/x-ndjson", errorBodies: ollamaErrors(), errorStatuses: ollamaStatuses(),
		shapes: []dialectShape{
			{name: "usage", dialectRequest: ask, content: line(`"content":"Hello"`, `false}`) + line(`"content":" there!"`, `false}`), finish: line(`"content":""`, `true,"done_reason":"stop"`+ollamaTimes), usage: []int64{35}},
			{name: "no usage", dialectRequest: ask, content: line(`"content":"Hello"`, `false}`), finish: line(`"content":""`, `true,"done_reason":"length"}`)},
			{
				name: "thinking, then a tool", dialectRequest: ask, content: line(`"content":"","thinking":"They want a greeting."`, `false}`) + line(`"content":"","tool_calls":[{"function":{"name":"greet","arguments":{"to":"you"}}}]`, `false}`),
				finish: line(`"content":""`, `true,"done_reason":"stop"`+ollamaTimes), usage: []int64{35},
			},
		},
	}
}

// ollamaGenerate is /api/generate.
func ollamaGenerate() dialect {
	line := func(text, more string) string {
		return linesOf(`{"model":"llama3.2","created_at":"2025-08-04T08:52:19.385406455Z","response":"` + text + `","done":` + more)
	}
	ask := dialectRequest{path: "/api/generate", body: `{"model":"llama3.2","prompt":"Say hello in five words."}`}
	return dialect{
		name: "ollama generate", form: formLines, media: "application/x-ndjson", errorBodies: ollamaErrors(), errorStatuses: ollamaStatuses(),
		shapes: []dialectShape{
			{name: "usage", dialectRequest: ask, content: line("Hello", `false}`) + line(" there!", `false}`), finish: line("", `true,"done_reason":"stop","context":[128006,882,128007]`+ollamaTimes), usage: []int64{35}},
			{name: "no usage", dialectRequest: ask, content: line("Hello", `false}`), finish: line("", `true}`)},
		},
	}
}

// llamaCPP is /completion of llama.cpp's server; stop finishes it.
func llamaCPP() dialect {
	event := func(text, more string) string {
		return dataEvents(`{"index":0,"content":"` + text + `","tokens":[9906],"stop":` + more)
	}
	const evaluated = `,"id_slot":0,"tokens_predicted":7,"tokens_evaluated":12,`
	const last = `"model":"llama-3.2-1b","generation_settings":{"n_predict":-1,"seed":4294967295,"temperature":0.8},"prompt":"<|begin_of_text|>Say hello in five words.","has_new_line":false,"truncated":false,"stop_type":"eos","stopping_word":"","tokens_cached":18,` +
		`"timings":{"prompt_n":12,"prompt_ms":20.1,"predicted_n":7,"predicted_ms":83.5}}`
	ask := dialectRequest{path: "/completion", body: `{"prompt":"Say hello in five words.","n_predict":64,"stream":true}`}
	failure := func(code, kind, message string) string {
		return `{"error":{"code":` + code + `,"message":"` + message + `","type":"` + kind + `"}}`
	}
	server, request := failure("500", "server_error", "Failed to process the batch"), failure("400", "invalid_request_error", `\"prompt\" must be a string or an array`)
	return dialect{
		name: "llama.cpp", media: "text/event-stream",
		errorBodies:   dialectErrors{kindServer: dataEvents(server), kindRequest: dataEvents(request), kindUnknown: dataEvents(`{"error":"slot unavailable"}`)},
		errorStatuses: dialectStatuses{kindServer: {"500 Internal Server Error", server}, kindRequest: {"400 Bad Request", request}},
		shapes: []dialectShape{
			{
				name: "usage", dialectRequest: ask, content: event("Hello", `false,"id_slot":0,"tokens_predicted":1,"tokens_evaluated":12}`) + event(" there!", `false,"id_slot":0,"tokens_predicted":2,"tokens_evaluated":12}`),
				finish: event("", "true"+evaluated+last), usage: []int64{19},
			},
			{name: "no usage", dialectRequest: ask, content: event("Hello", `false}`), finish: event("", `true}`)},
		},
	}
}

// textGenerationInference is /generate_stream of TGI; its last event has the whole text.
func textGenerationInference() dialect {
	event := func(id, text, more string) string {
		return "data:" + `{"index":` + id + `,"token":{"id":9906,"text":"` + text + `","logprob":-0.26,"special":false},` + more + "\n\n"
	}
	const going = `"generated_text":null,"details":null}`
	ask := dialectRequest{path: "/generate_stream", body: `{"inputs":"Say hello in five words.","parameters":{"max_new_tokens":20,"details":true}}`}
	generation := `{"error":"Request failed during generation: Server error: CUDA out of memory","error_type":"generation"}`
	validation := `{"error":"Input validation error: inputs cannot be empty","error_type":"validation"}`
	return dialect{
		name: "tgi", media: "text/event-stream",
		errorBodies: dialectErrors{kindServer: "data:" + generation + "\n\n", kindRequest: "data:" + validation + "\n\n", kindUnknown: "data:{\"error\":\"It did not work.\"}\n\n"},
		errorStatuses: dialectStatuses{
			kindServer:  {"500 Internal Server Error", `{"error":"Incomplete generation","error_type":"incomplete_generation"}`},
			kindRequest: {"422 Unprocessable Entity", validation},
		},
		shapes: []dialectShape{
			{
				name: "usage", dialectRequest: ask, content: event("1", "Hello", going) + event("2", " there", going),
				finish: event("3", "!", `"generated_text":"Hello there!","details":{"finish_reason":"eos_token","generated_tokens":3,"seed":null,"input_length":8}}`), usage: []int64{11},
			},
			{name: "no usage", dialectRequest: ask, content: event("1", "Hello", going), finish: event("2", "!", `"generated_text":"Hello!","details":null}`)},
		},
	}
}
