package exchange

import (
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the window of a zstd frame, in bytes (RFC 9659).
const maxWindow = 8 << 20

// SetDecode makes Do decode a response that is encoded although the request asked for no encoding.
// It is called before Do.
func (a *Attempt) SetDecode() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.decodes = true
}

// decode removes a response's encoding if it is known.
func decode(res *http.Response) {
	var open func(io.Reader) (io.Reader, error)
	switch strings.ToLower(res.Header.Get("Content-Encoding")) {
	case "gzip", "x-gzip":
		open = func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }
	case "deflate":
		open = func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }
	case "zstd":
		open = func(r io.Reader) (io.Reader, error) {
			return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		}
	default:
		return
	}
	res.Body = &decoded{ReadCloser: res.Body, open: open}
	res.ContentLength, res.Uncompressed = -1, true
	for _, name := range [...]string{"Content-Encoding", "Content-Length", "Content-Digest", "Content-Md5"} {
		res.Header.Del(name)
	}
}

// decoded is a body that is decoded as it is read.
type decoded struct {
	io.ReadCloser
	open func(io.Reader) (io.Reader, error)
	r    io.Reader
	err  error
}

// Read implements io.Reader.
func (d *decoded) Read(p []byte) (int, error) {
	if d.r == nil && d.err == nil {
		d.r, d.err = d.open(d.ReadCloser)
	}
	if d.err != nil {
		return 0, d.err
	}
	return d.r.Read(p)
}

// Close implements io.Closer.
func (d *decoded) Close() error {
	if z, ok := d.r.(*zstd.Decoder); ok {
		z.Close()
	}
	return d.ReadCloser.Close()
}
