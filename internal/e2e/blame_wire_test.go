package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawRequest is the head of a request, written without validation.
type rawRequest struct {
	method, path string      // "": POST, /v1/chat/completions
	host         string      // "": gateway.example
	fields       [][2]string // additional ones
	length       int         // of the body; chunked: unknown
	caller       string      // "": bad
}

const chunked = -1

// wire is a client's connection for one request that is written by hand. It speaks HTTP/2
// when h2 is set, else HTTP/1.1.
type wire struct {
	*net.TCPConn

	in             *bufio.Reader
	chunked        bool
	res            *http.Response
	received       bytes.Buffer // of the body
	withholdWindow bool         // HTTP/2: send no window updates

	h2     *http2.Framer
	status int // HTTP/2
	err    error
}

func newWire(ctx context.Context, addr, proto string) (*wire, error) {
	c, err := dialed(ctx, addr)
	if err != nil {
		return nil, err
	}
	w := &wire{TCPConn: c, in: bufio.NewReader(c)}
	if proto == "h1" {
		return w, nil
	}
	w.h2 = http2.NewFramer(c, w.in)
	w.h2.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, err = io.WriteString(c, http2.ClientPreface)
	return w, errors.Join(err, w.h2.WriteSettings())
}

// writeHead writes the head of a request. With last no body follows.
func (w *wire) writeHead(a rawRequest, last bool) {
	if a.method == "" {
		a.method = http.MethodPost
	}
	if a.path == "" {
		a.path = "/v1/chat/completions"
	}
	if a.host == "" {
		a.host = "gateway.example"
	}
	if a.caller == "" {
		a.caller = "bad"
	}
	fields := append([][2]string{{"authorization", "Bearer " + a.caller}}, a.fields...)
	if !last && a.length >= 0 {
		fields = append(fields, [2]string{"content-length", strconv.Itoa(a.length)})
	}
	if w.h2 != nil {
		fields = append([][2]string{{":method", a.method}, {":scheme", "http"}, {":authority", a.host}, {":path", a.path}}, fields...)
		_ = w.h2.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: packed(fields), EndHeaders: true, EndStream: last})
		return
	}
	if w.chunked = a.length < 0 && !last; w.chunked {
		fields = append(fields, [2]string{"transfer-encoding", "chunked"})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nhost: %s\r\n", a.method, a.path, a.host)
	for _, f := range fields {
		fmt.Fprintf(&b, "%s: %s\r\n", f[0], f[1])
	}
	w.writeRaw(b.String() + "\r\n")
}

// packed returns an encoded header block.
func packed(fields [][2]string) []byte {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for _, f := range fields {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return b.Bytes()
}

// writeRaw writes text. Errors show when the response is read.
func (w *wire) writeRaw(text string) { _, _ = io.WriteString(w, text) }

// writeBody writes a part of the body, which must fit into a first window.
func (w *wire) writeBody(p string, last bool) {
	switch {
	case w.h2 != nil:
		for ; len(p) > 16<<10; p = p[16<<10:] {
			_ = w.h2.WriteData(1, false, []byte(p[:16<<10]))
		}
		_ = w.h2.WriteData(1, last, []byte(p))
	case w.chunked && last:
		w.writeRaw(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(p), p))
	case w.chunked:
		w.writeRaw(fmt.Sprintf("%x\r\n%s\r\n", len(p), p))
	default:
		w.writeRaw(p)
	}
}

// writeTrailers ends the body with fields.
func (w *wire) writeTrailers(fields ...[2]string) {
	if w.h2 != nil {
		_ = w.h2.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: packed(fields), EndHeaders: true, EndStream: true})
		return
	}
	w.writeRaw("0\r\n")
	for _, f := range fields {
		w.writeRaw(f[0] + ": " + f[1] + "\r\n")
	}
	w.writeRaw("\r\n")
}

// statusCode waits for the head of the response; 0: none came.
func (w *wire) statusCode() int {
	if w.h2 == nil {
		for w.res == nil {
			res, err := http.ReadResponse(w.in, nil) //nolint:bodyclose // it ends with the connection
			if err != nil {
				return 0
			}
			if res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
				w.res = res
			}
		}
		return w.res.StatusCode
	}
	for w.status == 0 && w.err == nil {
		w.readFrame()
	}
	return w.status
}

// readUntil reads the body until it contains text, or to its end.
func (w *wire) readUntil(text string) {
	if w.statusCode() == 0 {
		return
	}
	for !strings.Contains(w.received.String(), text) && w.err == nil {
		if w.h2 != nil {
			w.readFrame()
			continue
		}
		p := make([]byte, 4<<10)
		n, err := w.res.Body.Read(p)
		w.received.Write(p[:n])
		w.err = err
	}
}

// readBody reads the body to its end; it returns an error when the body was cut.
func (w *wire) readBody() (string, error) {
	w.readUntil("\x00 never sent")
	if errors.Is(w.err, io.EOF) {
		return w.received.String(), nil
	}
	return w.received.String(), w.err
}

// readFrame reads one frame of HTTP/2.
func (w *wire) readFrame() {
	f, err := w.h2.ReadFrame()
	if err != nil {
		w.err = errors.Join(io.ErrUnexpectedEOF, err)
		return
	}
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			_ = w.h2.WriteSettingsAck()
		}
	case *http2.PingFrame:
		_ = w.h2.WritePing(true, f.Data)
	case *http2.DataFrame:
		w.data(f)
	case *http2.MetaHeadersFrame:
		if n, err := strconv.Atoi(f.PseudoValue("status")); err == nil && n >= 200 {
			w.status = n
		}
		if f.StreamEnded() {
			w.err = io.EOF
		}
	case *http2.RSTStreamFrame:
		w.err = fmt.Errorf("%w: stream %v", io.ErrUnexpectedEOF, f.ErrCode)
	case *http2.GoAwayFrame:
		if f.ErrCode == http2.ErrCodeNo && f.LastStreamID >= 1 {
			return // the open stream continues
		}
		w.err = fmt.Errorf("%w: connection %v", io.ErrUnexpectedEOF, f.ErrCode)
	}
}

func (w *wire) data(f *http2.DataFrame) {
	w.received.Write(f.Data())
	if n := uint32(len(f.Data())); n > 0 && !w.withholdWindow && !f.StreamEnded() {
		_ = errors.Join(w.h2.WriteWindowUpdate(0, n), w.h2.WriteWindowUpdate(1, n))
	}
	if f.StreamEnded() {
		w.err = io.EOF
	}
}

// abort resets the stream or the connection.
func (w *wire) abort() {
	if w.h2 != nil {
		_ = w.h2.WriteRSTStream(1, http2.ErrCodeCancel)
	} else {
		_ = w.SetLinger(0)
	}
	_ = w.Close()
}

// post writes a whole request with a body.
func (w *wire) post(a rawRequest, body string) int {
	if a.length == 0 {
		a.length = len(body)
	}
	w.writeHead(a, false)
	w.writeBody(body, true)
	return w.statusCode()
}

// goodBody is the body of a valid request.
const goodBody = `{"model":"m","messages":[{"role":"user","content":"hello"}]}`

// goodRequestProblems sends a valid request of another caller and returns what is wrong
// with its response.
func (g *chain) goodRequestProblems(ctx context.Context, proto string) []string {
	w, err := newWire(ctx, g.addr(), proto)
	if err != nil {
		return []string{err.Error()}
	}
	defer func() { _ = w.Close() }()
	status := w.post(rawRequest{caller: "good", fields: [][2]string{{"x-good", "1"}, {"content-type", "application/json"}}}, goodBody)
	body, err := w.readBody()
	if status != http.StatusOK || body != goodJSON || err != nil {
		return []string{fmt.Sprintf("a good request is not served: %d %q %v", status, body, err)}
	}
	return nil
}

// The wire itself works over both protocols with both kinds of body.
func TestBlameWire(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"h1", "h2"} {
		g := chainSetup{urls: []string{blameUpstream(t, nil, nil).URL}}.start(t)
		for _, length := range []int{0, chunked} {
			w, err := newWire(t.Context(), g.addr(), proto)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, w.post(rawRequest{length: length, fields: [][2]string{{"x-good", "1"}}}, goodBody))
			body, err := w.readBody()
			require.NoError(t, err)
			require.JSONEq(t, goodJSON, body)
			require.NoError(t, w.Close())
		}
		require.Empty(t, g.awaitIdle())
		require.Empty(t, g.blamed())
		require.Equal(t, g.attempts.Load(), g.calls.started.Load())
	}
}
