package flight

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"
)

// writeStep is the most that is written to a client at once, within the write timeout.
const writeStep = 64 << 10

// Filter changes the body for one client.
type Filter interface {
	// Add returns what to send after p was received, End what to send at the end.
	Add(p []byte) []byte
	End() []byte
}

// Conn controls the connection of a client.
type Conn interface {
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	Flush() error
}

func connOf(c Conn, w http.ResponseWriter) Conn {
	if c == nil {
		return http.NewResponseController(w)
	}
	return c
}

// Player sends a response to one client.
type Player struct {
	// Writer is the client's. Its head was written already.
	Writer http.ResponseWriter
	// Conn is the client's connection. Default: what http.ResponseController reaches.
	Conn Conn
	// HTTP2 reports the protocol of the client.
	HTTP2 bool
	// Timeout bounds each write. Negative: no bound.
	Timeout time.Duration
	// Filter changes the body. Optional.
	Filter Filter
}

// Play sends the body from the beginning and as it is produced, flushes it, and removes
// the reader. It returns nil at the end, or why the client did not get all of it.
func (p *Player) Play(ctx context.Context, res *Response, r *Reader) error {
	defer r.Leave()
	control := connOf(p.Conn, p.Writer)
	for {
		part := r.Next()
		switch {
		case part.Dropped:
			return ErrSlow
		case len(part.Bytes) > 0:
			b := part.Bytes[:min(len(part.Bytes), writeStep)]
			if err := p.write(control, b); err != nil {
				return err
			}
			r.Advance(len(b))
			continue
		case part.Ended:
			return p.end(res, part.Err)
		}
		p.deadline(control, false)
		if err := control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		p.deadline(control, true)
		select {
		case <-part.Wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *Player) write(control Conn, b []byte) error {
	if p.Filter != nil {
		b = p.Filter.Add(b)
	}
	if len(b) == 0 {
		return nil
	}
	p.deadline(control, false)
	_, err := p.Writer.Write(b)
	p.deadline(control, true)
	return err
}

func (p *Player) end(res *Response, err error) error {
	if p.Filter != nil {
		if _, werr := p.Writer.Write(p.Filter.End()); werr != nil {
			return werr
		}
	}
	if err == nil {
		maps.Copy(p.Writer.Header(), res.Trailer)
	}
	return err
}

// deadline bounds a write. HTTP/2 resets a stream at its deadline even in silence, so the
// deadline is removed after the write.
func (p *Player) deadline(control Conn, after bool) {
	switch {
	case p.Timeout < 0:
	case !after:
		_ = control.SetWriteDeadline(time.Now().Add(p.Timeout)) // a test recorder has none
	case p.HTTP2:
		_ = control.SetWriteDeadline(time.Time{})
	}
}
