package h1

import (
	"context"
	"io"
	"sync"
)

// answer is the body of an answer. At its end the connection becomes free.
type answer struct {
	io.ReadCloser

	conn *conn
	ctx  context.Context //nolint:containedctx // the request's, asked why a read failed
	stop func() bool
	keep bool
	once sync.Once
}

// Read implements io.Reader. After a cancelled request the error is its cause.
func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err == nil {
		return n, nil
	}
	if err == io.EOF { //nolint:errorlint // one that is wrapped is no clean end
		a.end(true)
		return n, err
	}
	a.end(false)
	if a.ctx.Err() != nil {
		err = context.Cause(a.ctx)
	}
	return n, err
}

// Close implements io.Closer. A body that was not read to its end costs the
// connection: the rest may be endless.
func (a *answer) Close() error {
	a.end(false)
	return nil
}

// end gives the connection back or closes it.
func (a *answer) end(whole bool) {
	a.once.Do(func() {
		inTime := a.stop() // else its deadline is in the past, or about to be
		if whole && a.keep && inTime && a.conn.in.Buffered() == 0 {
			a.conn.host.put(a.conn)
			return
		}
		a.conn.close()
	})
}
