package stream_test

import (
	"errors"
	"math"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWriter(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   func(*stream.Writer) error
		want string
	}{
		{"data", func(w *stream.Writer) error { return w.Data("a") }, "data: a\n\n"},
		{"empty data is a message", func(w *stream.Writer) error { return w.Data("") }, "data: \n\n"},
		{"lines", func(w *stream.Writer) error { return w.Data("a\nb\r\nc\rd\n") }, "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"},
		{"no field by content", func(w *stream.Writer) error { return w.Data("a\n\nevent: x") }, "data: a\ndata: \ndata: event: x\n\n"}, //nolint:dupword // on purpose
		{"all fields", func(w *stream.Writer) error {
			return w.Send(stream.Message{ID: "1", Event: "e", Data: "d", Retry: 1500 * time.Millisecond})
		}, "id: 1\nevent: e\nretry: 1500\ndata: d\n\n"},
		{"JSON", func(w *stream.Writer) error { return w.JSON(map[string]int{"a": 1}) }, "data: {\"a\":1}\n\n"},
		{"comment", func(w *stream.Writer) error { return w.Comment("a\nb") }, ": a\n: b\n"},
		{"retry", func(w *stream.Writer) error { return w.Retry(2 * time.Second) }, "retry: 2000\n\n"},
		{"done", (*stream.Writer).Done, "data: [DONE]\n\n"},
		{"error", func(w *stream.Writer) error {
			return w.Error(&apierror.Error{Status: 503, Code: "busy", Message: "Busy."})
		}, "event: error\n" + `data: {"type":"error","error":{"message":"Busy.","type":"server_error","param":null,"code":"busy"}}` + "\n\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rec := httptest.NewRecorder()
			rec.Header().Set("Content-Length", "5")
			require.NoError(t, tt.do(stream.NewWriter(rec)))
			assert.Equal(t, tt.want, rec.Body.String())
			assert.True(t, rec.Flushed)
			assert.Equal(t, "text/event-stream", rec.Header().Get("Content-Type"))
			assert.Equal(t, "no-cache, no-transform", rec.Header().Get("Cache-Control"))
			assert.Equal(t, "no", rec.Header().Get("X-Accel-Buffering"))
			assert.Empty(t, rec.Header().Get("Content-Length"))
		})
	}
}

func TestWriterRefusesWhatWouldBreakTheFormat(t *testing.T) {
	t.Parallel()
	for _, m := range []stream.Message{{ID: "a\nb"}, {ID: "a\rb"}, {ID: "a\x00"}, {Event: "a\nb"}, {Event: "\r"}} {
		rec := httptest.NewRecorder()
		require.ErrorIs(t, stream.NewWriter(rec).Send(m), stream.ErrField)
		assert.Empty(t, rec.Body.String())
	}
	require.Error(t, stream.NewWriter(httptest.NewRecorder()).JSON(math.Inf(1)))
}

func TestWriterConcurrent(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	w := stream.NewWriter(rec)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if err := errors.Join(w.Data("abc"), w.Comment("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, _ := readAll(stream.NewReader(strings.NewReader(rec.Body.String()), 0))
	assert.Len(t, got, 800)
}

func FuzzWriter(f *testing.F) {
	f.Add("1", "e", "a\nb")
	f.Fuzz(func(t *testing.T, id, event, data string) {
		rec := httptest.NewRecorder()
		m := stream.Message{ID: id, Event: event, Data: data}
		if errors.Is(stream.NewWriter(rec).Send(m), stream.ErrField) {
			return
		}
		got, _ := readAll(stream.NewReader(strings.NewReader(rec.Body.String()), 0))
		m.Data = strings.ReplaceAll(strings.ReplaceAll(data, "\r\n", "\n"), "\r", "\n")
		assert.Equal(t, []stream.Message{m}, got)
	})
}
