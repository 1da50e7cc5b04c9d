package llm_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/ginfer/ginfer/internal/peek"
	"github.com/ginfer/ginfer/internal/usage"
	"github.com/stretchr/testify/require"
)

// FuzzDiffer compares with the scanner that came before, for the APIs that it knew.
func FuzzDiffer(f *testing.F) {
	for _, e := range corpus() {
		f.Add(e.body, e.contentType == streamType)
	}
	for _, tt := range dialectCases() {
		f.Add(tt.body, tt.contentType == streamType)
	}
	f.Fuzz(func(t *testing.T, body string, stream bool) {
		contentType := jsonType
		if stream {
			contentType = streamType
		} else if !json.Valid([]byte(body)) {
			return
		}
		var old usage.Scanner
		old.Reset(http.Header{"Content-Type": {contentType}})
		_, _ = old.Write([]byte(body))
		u, known := old.Usage()
		got := findAll(llm.Unknown, contentType, body)
		if got.api == llm.Gemini || bytes.Contains([]byte(body), []byte("usageMetadata")) {
			return // which it did not know
		}
		if got.known && known && got.delivered == old.Delivered() {
			require.Equal(t, llm.Usage(u), got.usage)
		}
		if old.Ended() && !bytes.Contains([]byte(body), []byte("error")) {
			require.True(t, got.ended)
		}
	})
}

// FuzzDifferMember compares with the lookup that came before.
func FuzzDifferMember(f *testing.F) {
	for _, seed := range []string{`{"model":"a"}`, `{"a":[{"}":"\\"}],"model":1.5}`, `{"model":1,"model":2}`, `{"model":[1,2}`, `{"n":01}`, `{"n":1,}`, `{`, "\ufeff{}"} {
		f.Add([]byte(seed), "model")
	}
	f.Fuzz(func(t *testing.T, object []byte, key string) {
		start, end, err := peek.Member(object, key)
		at, got := llm.Member(object, key)
		if err == nil {
			require.NoError(t, got)
			require.Equal(t, llm.Span{Start: start, End: end}, at)
		}
		if json.Valid(object) {
			for i, old := range []error{peek.ErrNotFound, peek.ErrDuplicate, peek.ErrSyntax} {
				now := []error{llm.ErrNotFound, llm.ErrDuplicate, llm.ErrSyntax}[i]
				require.Equal(t, is(err, old), is(got, now), "%v %v", err, got)
			}
		}
	})
}

func is(err, target error) bool { return errors.Is(err, target) }
