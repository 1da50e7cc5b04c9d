package stream_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type upstreamFunc func(*http.Request) (*http.Response, error)

func (f upstreamFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// metering sends a request for a stream through a meter and reads the first bytes of the
// response, while the upstream still has the rest.
func metering(t *testing.T, header http.Header, first string, change func(*http.Request)) (sent, got string) {
	t.Helper()
	m, err := stream.NewMeter(stream.MeterConfig{OnUsage: func(context.Context, stream.Usage) {}})
	require.NoError(t, err)
	r, w := io.Pipe()
	go func() { _, _ = io.WriteString(w, first) }()
	next := upstreamFunc(func(req *http.Request) (*http.Response, error) {
		b, _ := io.ReadAll(req.Body)
		sent = string(b)
		return &http.Response{StatusCode: http.StatusOK, Header: header, ContentLength: -1, Body: r}, nil
	})
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/chat/completions", strings.NewReader(plainBody))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(plainBody)), nil }
	if change != nil {
		change(req)
	}
	res, err := m.Transport(next).RoundTrip(req) //nolint:bodyclose // closed below
	require.NoError(t, err)
	read := make(chan string, 1)
	go func() {
		b := make([]byte, 4096)
		n, _ := res.Body.Read(b)
		read <- string(b[:n])
	}()
	select {
	case got = <-read:
	case <-time.After(time.Second): // it was delayed
	}
	require.NoError(t, w.Close())
	require.NoError(t, res.Body.Close())
	return sent, got
}

const plainBody = `{"model":"m","stream":true,"messages":[]}`

// A stream that is compressed although no compression was requested is decoded as it comes.
func TestCompressedStreamPassesAtOnce(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	const event = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"
	_, _ = io.WriteString(z, event)
	require.NoError(t, z.Flush())
	require.NotContains(t, b.String(), "\n\n")
	first := b.String()
	synctest.Test(t, func(t *testing.T) {
		_, got := metering(t, http.Header{"Content-Type": {"text/event-stream"}, "Content-Encoding": {"gzip"}}, first, nil)
		assert.Equal(t, event, got)
	})
}

// Lines may end with a carriage return alone.
func TestOldLineEndsPassAtOnce(t *testing.T) {
	t.Parallel()
	first := "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\rdata"
	synctest.Test(t, func(t *testing.T) {
		_, got := metering(t, http.Header{"Content-Type": {"text/event-stream"}}, first, nil)
		assert.True(t, strings.HasPrefix(got, first[:len(first)-5]), "%q", got)
	})
}

// The body of a signed request is not changed.
func TestSignedBodyIsNotChanged(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"Signature-Input": `a=("content-digest")`, "X-Amz-Content-Sha256": "abc", "Authorization": "AWS4-HMAC-SHA256 Credential=a",
		"Repr-Digest": "", // no signature
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				sent, _ := metering(t, http.Header{"Content-Type": {"text/event-stream"}}, "data: [DONE]\n\n", func(r *http.Request) { r.Header.Set(name, value) })
				assert.Equal(t, value == "", sent != plainBody)
			})
		})
	}
}
