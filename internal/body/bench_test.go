package body_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/body"
)

// BenchmarkHold is the cost of a request's body in all stages: read, parsed, renamed, sent.
func BenchmarkHold(b *testing.B) { //nolint:gocognit // a table
	for _, size := range []int{1 << 10, 256 << 10} {
		for how, announced := range map[string]bool{"announced": true, "chunked": false} {
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, how), func(b *testing.B) {
				sent := []byte(`{"messages":[{"role":"user","content":"` + text(size) + `"}],"model":"m","stream":true}`)
				length := int64(-1)
				if announced {
					length = int64(len(sent))
				}
				bodies := body.New(body.Config{})
				w := httptest.NewRecorder()
				head := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", nil)
				sink := make([]byte, 64<<10)
				b.SetBytes(int64(len(sent)))
				b.ReportAllocs()
				for b.Loop() {
					ctx, end := body.With(b.Context(), bodies)
					c := gin.CreateTestContextOnly(w, gin.New())
					c.Request = head.WithContext(ctx)
					c.Request.Body = http.NoBody
					c.Request.Body = readCloser{bytes.NewReader(sent)}
					c.Request.ContentLength = length
					h, err := body.Hold(c)
					if err != nil || h.Request().Model != "m" {
						b.Fatal(err)
					}
					out := c.Request.WithContext(ctx)
					body.Send(out, h)
					out, _ = body.Rename(out, "other")
					for {
						if _, err := out.Body.Read(sink); err != nil {
							break
						}
					}
					end()
				}
			})
		}
	}
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }
