package body_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// long returns a body that names its request in every byte.
func long(n int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%07d|", n), 10<<10) }

// track holds a body as the middleware does, and calls use with it and the outbound request.
func track(t *testing.T, sent []byte, use func(h *body.Held, out *http.Request)) {
	t.Helper()
	c := gin.CreateTestContextOnly(httptest.NewRecorder(), gin.New())
	c.Request = httptest.NewRequest(http.MethodPost, "/v1/x", bytes.NewReader(sent))
	r, end := body.Track(c.Request, body.New(body.Config{}))
	defer end()
	c.Request = r
	h, err := body.Hold(c)
	require.NoError(t, err)
	require.True(t, h.Whole)
	out, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://a/", http.NoBody)
	require.NoError(t, err)
	body.Send(out, h)
	use(h, out)
}

// A reader that is still open when its request has ended, as of a mirror or of the loser of a hedge,
// sends its own bytes, however many requests follow.
func TestOpenReadersKeepTheirBytes(t *testing.T) {
	t.Parallel()
	var late sync.WaitGroup
	for n := range 200 {
		sent := long(n)
		track(t, sent, func(_ *body.Held, out *http.Request) {
			again := body.Replay(out)
			require.NoError(t, out.Body.Close())
			if n%2 == 0 {
				return
			}
			r, err := again()
			require.NoError(t, err)
			late.Go(func() {
				got, _ := io.ReadAll(r)
				assert.True(t, bytes.Equal(sent, got), n)
				_ = r.Close()
			})
		})
	}
	late.Wait()
}

// Nothing is read of a body after its end, but an error.
func TestNoBytesAfterTheEnd(t *testing.T) {
	t.Parallel()
	var held *body.Held
	var again func() (io.ReadCloser, error)
	var closed, patched *http.Request
	track(t, append([]byte(`{"model":"m","pad":"`), append(long(1), `"}`...)...), func(h *body.Held, out *http.Request) {
		require.Equal(t, "m", h.Request().Model)
		held, again, closed = h, body.Replay(out), out
		patched, _ = body.Rename(out, "other")
		require.NoError(t, patched.Body.Close())
		require.NoError(t, out.Body.Close())
	})
	assert.Empty(t, held.Bytes())
	r, err := again()
	require.NoError(t, err)
	for _, one := range []io.Reader{r, closed.Body, patched.Body} {
		n, err := io.Copy(io.Discard, one)
		require.ErrorIs(t, err, http.ErrBodyReadAfterClose)
		assert.Zero(t, n)
	}
	_, ok := body.Borrow(closed)
	assert.False(t, ok)
}

// A request that an endpoint did not take goes to another one with the same body.
func TestClosedBodyCanBeSentAgain(t *testing.T) {
	t.Parallel()
	sent := long(1)
	track(t, sent, func(_ *body.Held, out *http.Request) {
		for range 2 {
			require.NoError(t, out.Body.Close())
		}
		got, err := io.ReadAll(out.Body)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(sent, got))
	})
}

// What is borrowed outlives the request.
func TestBorrowedBytes(t *testing.T) {
	t.Parallel()
	var release func()
	var parts [][]byte
	sent := long(7)
	track(t, sent, func(_ *body.Held, out *http.Request) {
		var ok bool
		release, ok = body.Borrow(out)
		require.True(t, ok)
		parts, _, _ = body.Segments(out)
		require.NoError(t, out.Body.Close())
	})
	for n := range 50 {
		track(t, long(n), func(_ *body.Held, out *http.Request) { _ = out.Body.Close() })
	}
	assert.True(t, bytes.Equal(sent, bytes.Join(parts, nil)))
	release()
}
