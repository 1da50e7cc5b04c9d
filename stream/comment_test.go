package stream_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dispatches returns the events of a stream as a decoder that dispatches at every blank line
// reads them, as openai-go did from 1.12 to 3.40.
func dispatches(body string) []string {
	var events []string
	data := ""
	for line := range strings.Lines(body) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		switch {
		case strings.TrimRight(line, "\r\n") == "":
			events, data = append(events, data), ""
		case name == "data":
			data += strings.TrimPrefix(value, " ") + "\n"
		}
	}
	return events
}

// What is added between events must not be an event to any decoder.
func TestNothingAddedIsAnEvent(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		parts []string // with a heartbeat between them if one is possible
		want  []string
		beats int
	}{
		"LF":                               {[]string{"data: a\n\n", "data: b\n\n"}, []string{"a\n", "b\n"}, 2},
		"CRLF":                             {[]string{"data: a\r\n\r\n", "data: b\r\n\r\n"}, []string{"a\n", "b\n"}, 2},
		"a blank line in two":              {[]string{"data: a\n", "\n", "data: b\n\n"}, []string{"a\n", "b\n"}, 2},
		"CRLF, the blank line in two":      {[]string{"data: a\r\n\r", "\ndata: b\r\n\r\n"}, []string{"a\n", "b\n"}, 1},
		"an event in pieces":               {[]string{"event: x\n", "data: a", "b\ndata: c\n", "\n"}, []string{"ab\nc\n"}, 1},
		"before the first event":           {[]string{"", "data: a\n\n"}, []string{"a\n"}, 2},
		"after a comment of the handler's": {[]string{": x\n", "data: a\n\n"}, []string{"a\n"}, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, event := newStreams(t, stream.Config{})
				w := newConn()
				serve(w, request(), s.Middleware(), func(c *gin.Context) {
					c.Header("Content-Type", "text/event-stream")
					for _, part := range tt.parts {
						_, _ = c.Writer.WriteString(part)
						c.Writer.Flush()
						require.NoError(t, pause(c, 16*time.Second))
					}
				})
				assert.Equal(t, tt.want, dispatches(w.seen()), "%q", w.seen())
				assert.Equal(t, tt.beats, event().Heartbeats)
			})
		})
	}
}

// Google's SDKs accept an event only if it begins with "data:", so none may have a comment
// before it.
func TestNoHeartbeatForGemini(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]int{
		"/v1beta/models/gemini:streamGenerateContent":               0,
		"/v1/publishers/google/models/gemini:streamGenerateContent": 0,
		"/v1beta/models/gemini:generateContent":                     1,
		"/v1beta/openai/chat/completions":                           1,
		"/v1beta/models/gemini:streamGenerateContent/and-then-some": 1,
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, event := newStreams(t, stream.Config{})
				w := newConn()
				r := httptest.NewRequest(http.MethodPost, path+"?alt=sse", nil)
				e := gin.New()
				e.POST("/*path", s.Middleware(), func(c *gin.Context) {
					require.NoError(t, stream.NewWriter(c.Writer).Data("a"))
					require.NoError(t, pause(c, 16*time.Second))
				})
				e.ServeHTTP(w, r)
				assert.Equal(t, want, event().Heartbeats)
				assert.Equal(t, "data: a\n\n"+strings.Repeat(":\n", want), w.seen())
			})
		})
	}
}
