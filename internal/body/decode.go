package body

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the window of a zstd frame, in bytes (RFC 9659).
const maxWindow = 8 << 20

// encodingOf returns the Content-Encoding in lower case; "": none.
func encodingOf(h http.Header) string {
	encoding := strings.ToLower(strings.TrimSpace(strings.Join(h["Content-Encoding"], ", ")))
	if encoding == "identity" {
		return ""
	}
	return encoding
}

// decode returns the decoded body, up to limit bytes; of a beginning, as much as can be decoded.
// It removes one encoding: with several, each could inflate the next one's input without bound.
func decode(b []byte, encoding string, limit int64, whole bool, m budget) ([]byte, error) {
	r, end, err := decoder(b, encoding)
	if err != nil {
		return nil, err
	}
	defer end()
	text, _, _, err := readUpTo(r, -1, limit+1, m, false)
	switch {
	case !whole:
		return text[:min(int64(len(text)), limit)], nil
	case err != nil:
		m.give(int64(cap(text)))
		return nil, err
	case int64(len(text)) > limit:
		m.give(int64(cap(text)))
		return nil, ErrTooLarge
	}
	return text, nil
}

func decoder(b []byte, encoding string) (r io.Reader, end func(), err error) {
	end = func() {}
	switch encoding {
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(b))
	case "deflate":
		r, err = inflate(b)
	case "zstd":
		var z *zstd.Decoder
		z, err = zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err == nil {
			r, end = z, z.Close
		}
	default:
		err = ErrEncoding
	}
	return r, end, err
}

// inflate reads deflate in zlib's format (RFC 9110), or raw as some clients send it.
func inflate(b []byte) (io.Reader, error) {
	if len(b) > 1 && b[0]&0x0f == 8 && (uint(b[0])<<8|uint(b[1]))%31 == 0 {
		return zlib.NewReader(bytes.NewReader(b))
	}
	return flate.NewReader(bytes.NewReader(b)), nil
}
