package h1

import (
	"context"
	"io"
	"sync"
)

// response is the body of a response. At its end the connection can be reused.
type response struct {
	io.ReadCloser

	conn *conn
	ctx  context.Context //nolint:containedctx // the request's: the cause of a failed read
	stop func() bool
	keep bool
	once sync.Once
}

// Read implements io.Reader. After a canceled request the error is its cause.
func (r *response) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err == nil {
		return n, nil
	}
	if err == io.EOF { //nolint:errorlint // a wrapped EOF is no clean end
		r.end(true)
		return n, err
	}
	r.end(false)
	if r.ctx.Err() != nil {
		err = context.Cause(r.ctx)
	}
	return n, err
}

// Close implements io.Closer. If the body was not read to its end, the connection is closed: the
// rest may be endless.
func (r *response) Close() error {
	r.end(false)
	return nil
}

// end keeps the connection for reuse, or closes it.
func (r *response) end(whole bool) {
	r.once.Do(func() {
		inTime := r.stop() // else its deadline is in the past, or about to be
		if whole && r.keep && inTime && r.conn.sent() && r.conn.in.Buffered() == 0 {
			r.conn.host.put(r.conn)
			return
		}
		r.conn.close()
	})
}
