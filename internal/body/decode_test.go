package body_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/body"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// packers are the encodings, with names that distinguish the forms of deflate.
func packers() map[string]func(w io.Writer) io.WriteCloser {
	return map[string]func(w io.Writer) io.WriteCloser{
		"gzip":   func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"x-gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"GZip":   func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"zstd": func(w io.Writer) io.WriteCloser {
			z, _ := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
			return z
		},
		"deflate": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
		"deflate bare": func(w io.Writer) io.WriteCloser {
			f, _ := flate.NewWriter(w, 6)
			return f
		},
	}
}

func pack(tb testing.TB, how func(io.Writer) io.WriteCloser, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := how(&out)
	_, err := w.Write(b)
	require.NoError(tb, err)
	require.NoError(tb, w.Close())
	return out.Bytes()
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for name, how := range packers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			encoding, _, _ := strings.Cut(name, " ")
			sent := `{"model":"m","x":"` + text(5000) + `"}`
			packed := pack(t, how, []byte(sent))
			c := post(bytes.NewReader(packed), int64(len(packed)))
			c.Request.Header.Set("Content-Encoding", encoding)
			c.Request = within(c.Request, body.Config{Limit: 6000})
			h, err := body.Hold(c)
			require.NoError(t, err)
			model, err := h.Model()
			require.NoError(t, err)
			assert.Equal(t, "m", model)
			assert.Equal(t, sent, string(h.Bytes()))
			assert.Equal(t, packed, h.Raw())

			out, err := http.NewRequest(http.MethodPost, "http://x/", nil)
			require.NoError(t, err)
			out.Header.Set("Content-Encoding", encoding)
			body.Send(out, h)
			got, err := io.ReadAll(out.Body)
			require.NoError(t, err)
			assert.Equal(t, packed, got, "an unchanged body is sent as it was")
			assert.EqualValues(t, len(packed), out.ContentLength)
			seen, ok := body.Whole(out)
			assert.True(t, ok)
			assert.Equal(t, sent, string(seen))

			renamed, ok := body.Rename(out, "other")
			require.True(t, ok)
			assert.Empty(t, renamed.Header.Get("Content-Encoding"))
			assert.NotEmpty(t, out.Header.Get("Content-Encoding"), "the caller's request is unchanged")
			got, err = io.ReadAll(renamed.Body)
			require.NoError(t, err)
			assert.Equal(t, strings.Replace(sent, `"m"`, `"other"`, 1), string(got))
			assert.EqualValues(t, len(got), renamed.ContentLength)
		})
	}
}

// A decompression bomb costs no more than the limit, and is refused.
func TestDecodeBomb(t *testing.T) {
	t.Parallel()
	for name, how := range packers() {
		encoding, _, _ := strings.Cut(name, " ")
		packed := pack(t, how, make([]byte, 64<<20))
		require.Less(t, len(packed), 1<<20)
		b := body.New(body.Config{Limit: 1 << 20, Budget: 8 << 20, Share: 1})
		c := post(bytes.NewReader(packed), int64(len(packed)))
		c.Request.Header.Set("Content-Encoding", encoding)
		ctx, end := body.With(c.Request.Context(), b)
		c.Request = c.Request.WithContext(ctx)
		h, err := body.Hold(c)
		require.NoError(t, err, name)
		_, err = h.Model()
		assertFault(t, err, http.StatusRequestEntityTooLarge, "request_too_large")
		require.ErrorIs(t, err, body.ErrTooLarge)
		assert.Nil(t, h.Bytes())
		assert.LessOrEqual(t, b.Used(), int64(len(packed)+1), "%s: the decoded bytes are released", name)
		assert.LessOrEqual(t, h.Request().InputBytes, int64(1000))
		end()
	}
}

// Decoded bytes count towards the budget too.
func TestDecodeBeyondTheBudget(t *testing.T) {
	t.Parallel()
	packed := pack(t, packers()["gzip"], make([]byte, 1<<20))
	c := post(bytes.NewReader(packed), int64(len(packed)))
	c.Request.Header.Set("Content-Encoding", "gzip")
	c.Request = within(c.Request, body.Config{Budget: 100_000, Share: 1})
	h, err := body.Hold(c)
	require.NoError(t, err)
	assertFault(t, h.Err(), http.StatusServiceUnavailable, "overloaded")
}

// The beginning of a long compressed body is decoded as far as it goes.
func TestDecodeBeginning(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 1<<16)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[x>>26]
	}
	sent := `{"model":"m","prompt":"` + string(noise) + `"}`
	packed := pack(t, packers()["gzip"], []byte(sent))
	c := post(bytes.NewReader(packed), int64(len(packed)))
	c.Request.Header.Set("Content-Encoding", "gzip")
	c.Request = within(c.Request, body.Config{Limit: 30_000})
	h, err := body.Hold(c)
	require.NoError(t, err)
	require.False(t, h.Whole)
	model, err := h.Model()
	require.NoError(t, err)
	assert.Equal(t, "m", model)
	rest, err := io.ReadAll(c.Request.Body)
	require.NoError(t, err)
	assert.Equal(t, packed, rest)
	_, ok := body.Rename(c.Request, "other")
	assert.False(t, ok, "a compressed stream can't be changed")
}

func FuzzDecode(f *testing.F) {
	for name, how := range packers() {
		encoding, _, _ := strings.Cut(name, " ")
		f.Add(encoding, pack(f, how, []byte(`{"model":"m"}`)))
	}
	f.Fuzz(func(t *testing.T, encoding string, packed []byte) {
		const limit = 10_000
		c := post(bytes.NewReader(packed), int64(len(packed)))
		c.Request.Header.Set("Content-Encoding", encoding)
		b := body.New(body.Config{Limit: limit})
		ctx, end := body.With(c.Request.Context(), b)
		c.Request = c.Request.WithContext(ctx)
		h, err := body.Hold(c)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(h.Bytes()), limit+1)
		require.NotNil(t, h.Request())
		_, _ = h.Model()
		rest, err := io.ReadAll(c.Request.Body)
		require.NoError(t, err)
		require.Equal(t, string(packed), string(rest))
		end()
		require.Zero(t, b.Used())
	})
}
