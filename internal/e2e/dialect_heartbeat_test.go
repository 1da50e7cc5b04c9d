package e2e_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// decodeNaively decodes a stream as openai-go 1.12 to 3.40 does: it dispatches an event at
// every blank line, and an empty event is invalid JSON.
func decodeNaively(text string) (events int, err error) {
	data := ""
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if line != "" {
			name, value, _ := strings.Cut(line, ":")
			if name == "data" {
				data += strings.TrimPrefix(value, " ") + "\n"
			}
			continue
		}
		if !strings.HasPrefix(data, "[DONE]") {
			var v map[string]any
			if err := json.Unmarshal([]byte(data), &v); err != nil {
				return events, err
			}
			events++
		}
		data = ""
	}
	return events, lines.Err()
}

// Heartbeats are invisible: to a decoder that dispatches at every blank line, and within
// events, where there are none.
func TestDialectHeartbeatIsInvisible(t *testing.T) {
	t.Parallel()
	one := dataEvents(chatChunk(`"delta":{"content":"a"},"finish_reason":null`, ""))
	tests := map[string]struct {
		parts  []string // with a silence after each
		beats  bool     // heartbeats are allowed
		events int
	}{
		"before the first event": {[]string{"", one + doneEvent}, true, 1},
		"between two events":     {[]string{one, one + doneEvent}, true, 2},
		"lines end with CRLF":    {[]string{crlf(one), crlf(one)}, true, 2},
		"behind a comment":       {[]string{one + ": theirs\n", "\n" + one}, false, 2},
		"within a line":          {[]string{one[:20], one[20:] + one}, false, 2},
		"between data and blank": {[]string{strings.TrimSuffix(one, "\n"), "\n" + one}, false, 2},
		"behind an event field":  {[]string{"event: x\n", one}, false, 1},
		"between CR and LF":      {[]string{strings.TrimSuffix(crlf(one), "\n"), "\n" + one}, false, 2},
	}
	for name, tt := range tests {
		scenario(t, name, func(t *testing.T, v *findings) {
			t.Helper()
			got := withHeartbeats(t, tt.parts, tt.beats)
			sent := strings.Join(tt.parts, "")
			assert.Equal(v, sent, withoutBeats(got), "only comments were added")
			if !strings.Contains(name, "comment") { // the upstream's own comment
				events, err := decodeNaively(got)
				v.noError(err)
				assert.Equal(v, tt.events, events)
			}
			if !tt.beats && name != "behind a comment" { // where a heartbeat is harmless
				assert.Equal(v, sent, got, "an event is never split")
			}
		})
	}
}

// withoutBeats removes heartbeats: lines with a colon alone.
func withoutBeats(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.TrimRight(line, "\r\n") != ":" {
			b.WriteString(line)
		}
	}
	return b.String()
}

// withHeartbeats returns what a client receives of parts with a silence of several heartbeats
// after each. With beats it waits for a heartbeat.
func withHeartbeats(t *testing.T, parts []string, beats bool) string {
	t.Helper()
	const beat = 10 * time.Millisecond
	beatSeen := make(chan struct{}, 1000)
	wait := func(last bool) {
		switch {
		case beats:
			for range len(beatSeen) {
				<-beatSeen
			}
			select {
			case <-beatSeen:
			case <-time.After(patience):
			}
		case !last:
			<-time.After(5 * beat)
		}
	}
	r := gin.New()
	r.GET("/", stream.Middleware(stream.Config{Heartbeat: beat}), func(c *gin.Context) {
		c.Header("Content-Type", eventMedia)
		c.Writer.WriteHeaderNow()
		for i, part := range parts {
			_, _ = io.WriteString(c.Writer, part)
			c.Writer.Flush()
			wait(i == len(parts)-1)
		}
	})
	s := newServer(t, r)
	res, err := http.Get(s.URL)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	var all strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := res.Body.Read(buf)
		all.Write(buf[:n])
		if len(withoutBeats(string(buf[:n]))) < n {
			beatSeen <- struct{}{}
		}
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			return all.String()
		}
	}
}
