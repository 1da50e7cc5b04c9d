package llm_test

import (
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/llm"
)

func BenchmarkScannerEvent(b *testing.B) {
	for name, event := range map[string]string{
		"chat":      sse(chunk(`"content":" word"`, `,"usage":null`)),
		"usage":     sse(chunk(`"content":" word"`, `,"usage":{"prompt_tokens":900,"total_tokens":1900,"completion_tokens":1000}`)),
		"response":  typed(`{"type":"response.output_text.delta","sequence_number":17,"item_id":"msg_68a1b2c3d4e5f60718293a4b5c6d7e8f","output_index":0,"content_index":0,"delta":" word","logprobs":[],"obfuscation":"Hq3x9aKd"}`),
		"anthropic": typed(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" word"}}`),
	} {
		b.Run(name, func(b *testing.B) {
			var s llm.Scanner
			reset(&s, llm.Unknown, streamType)
			p := []byte(event)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = s.Write(p)
			}
			if s.Events() == 0 {
				b.Fatal("no event")
			}
		})
	}
}

func BenchmarkScannerJSON(b *testing.B) {
	vector := `{"data":[{"embedding":[` + strings.Repeat("-0.0069292834,", 1535) + `0]}],"usage":{"prompt_tokens":8,"total_tokens":8}}`
	text := `{"choices":[{"message":{"content":"` + strings.Repeat("Some words to say.\\n", 200) + `"}}],"usage":` + chatUsage + `}`
	for name, body := range map[string]string{"chat": text, "embedding": vector} {
		b.Run(name, func(b *testing.B) {
			var s llm.Scanner
			p := []byte(body)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				reset(&s, llm.Unknown, jsonType)
				_, _ = s.Write(p)
			}
			if _, known := s.Usage(); !known {
				b.Fatal("not known")
			}
		})
	}
}

func BenchmarkReadRequest(b *testing.B) {
	turns := func(n int) string {
		turn := `{"role":"user","content":"` + strings.Repeat("Some words to say.\\n", 10) + `"}`
		return `{"model":"llama-3","stream":true,"max_tokens":64,"messages":[` + strings.Repeat(turn+",", n-1) + turn + `]}`
	}
	image := `{"model":"llama-3","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` +
		strings.Repeat("iVBORw0KGgo/", 1<<20/12) + `"}}]}]}`
	tools := `{"model":"llama-3","tools":[` + strings.Repeat(tool+",", 9) + tool + `],"messages":[]}`
	for name, body := range map[string]string{"1KB": turns(4), "1KB-tools": tools, "1MB": turns(4500), "1MB-image": image} {
		b.Run(name, func(b *testing.B) {
			p := []byte(body)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				readBody(p)
			}
		})
	}
}
