package h1_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	bodies "github.com/ginfer/ginfer/internal/body"
	"github.com/stretchr/testify/require"
)

func BenchmarkTransport(b *testing.B) {
	for name, size := range map[string]int{"1KB": 1 << 10, "256KB": 256 << 10} {
		b.Run(name, func(b *testing.B) {
			up := respondWith(b, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
			tr, body := newTransport(b, nil), bytes.Repeat([]byte("x"), size)
			req := request(b, http.MethodPost, up)
			b.ReportAllocs()
			for b.Loop() {
				bodies.Set(req, body)
				res, err := tr.RoundTrip(req)
				require.NoError(b, err)
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
}
