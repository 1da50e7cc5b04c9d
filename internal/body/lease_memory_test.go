//go:build !race

package body_test

import (
	"net/http"
	"testing"

	"github.com/ginfer/ginfer/internal/body"
	"github.com/stretchr/testify/assert"
)

// The race detector makes pools forget, so this runs without it.

// Memory is used again, so that long bodies cost the garbage collector nothing.
func TestLongBodiesShareMemory(t *testing.T) { //nolint:paralleltest // it counts allocations
	sent := long(1)
	bytesOf := testing.Benchmark(func(b *testing.B) { //nolint:thelper // it is no helper
		b.ReportAllocs()
		for b.Loop() {
			track(t, sent, func(_ *body.Held, out *http.Request) { _ = out.Body.Close() })
		}
	}).AllocedBytesPerOp()
	assert.Less(t, bytesOf, int64(len(sent))/2)
}
