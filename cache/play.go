package cache

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/llm"
)

// errSlow: the client was too far behind.
var errSlow = errors.New("cache: the client reads too slowly")

// writeStep is how much is written to a client at once, within the write timeout.
const writeStep = 64 << 10

// sendHead writes the head of an answer whose header is set, with our mark.
func (x *exchange) sendHead(status int, mark string) {
	addMark(x.w.Header(), mark)
	x.w.WriteHeader(status)
	x.w.WriteHeaderNow()
}

// play tells the client what is on a tape, from the beginning and as it comes. The error
// is why it was not told all of it.
func (x *exchange) play(f *flight, r *reader, filter *llm.Unusaged) error {
	defer f.tape.leave(r)
	flush := http.NewResponseController(x.w)
	h2 := x.req.ProtoMajor == 2
	for {
		p := f.tape.read(r)
		switch {
		case p.dropped:
			x.tell(x.client, x.event(Dropped))
			return errSlow
		case len(p.bytes) > 0:
			b := p.bytes[:min(len(p.bytes), writeStep)]
			out := b
			if filter != nil {
				out = filter.Add(b)
			}
			if err := x.write(flush, out, h2); err != nil {
				return err
			}
			f.tape.took(r, len(b))
			continue
		case p.ended:
			return x.playEnd(f, filter, p.err)
		}
		x.deadline(flush, h2, false)
		if err := flush.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		x.deadline(flush, h2, true)
		select {
		case <-p.wait:
		case <-x.client.Done():
			return x.client.Err()
		}
	}
}

func (x *exchange) playEnd(f *flight, filter *llm.Unusaged, err error) error {
	if filter != nil {
		if _, werr := x.w.Write(filter.End()); werr != nil {
			return werr
		}
	}
	if err == nil {
		maps.Copy(x.w.Header(), f.trailer)
	}
	return err
}

func (x *exchange) write(rc *http.ResponseController, b []byte, h2 bool) error {
	if len(b) == 0 {
		return nil
	}
	x.deadline(rc, h2, false)
	_, err := x.w.Write(b)
	x.deadline(rc, h2, true)
	return err
}

// deadline bounds a write; tests' recorders have none. HTTP/2 resets a stream at its
// deadline also in silence, so there it must go after the write.
func (x *exchange) deadline(rc *http.ResponseController, h2, after bool) {
	switch {
	case x.cfg.WriteTimeout < 0:
	case !after:
		_ = rc.SetWriteDeadline(time.Now().Add(x.cfg.WriteTimeout))
	case h2:
		_ = rc.SetWriteDeadline(time.Time{})
	}
}

// finish ends an answer of which not all could be told.
func (x *exchange) finish(f *flight, err error) {
	x.g.Abort()
	switch {
	case err == nil || x.client.Err() != nil:
	case errors.Is(err, errCut), errors.Is(err, errShort):
		apierror.Cut(x.g, nil) // whatever was to be said of it has been said
	case errors.Is(err, errPanic) && llm.IsEventStream(x.w.Header().Get("Content-Type")) && f.between():
		x.cfg.ErrorHandler(x.g, unavailable(err))
		apierror.Cut(x.g, nil)
	default:
		apierror.Cut(x.g, err)
	}
}

// between reports whether a stream stands between two events, as far as it is known.
func (f *flight) between() bool {
	f.tape.mu.Lock()
	defer f.tape.mu.Unlock()
	if f.tape.base > 0 {
		return false
	}
	var b llm.Splitter
	b.Write(f.tape.buf)
	return b.Between()
}

// unavailable is what a client is told that followed a leader without an llm.
func unavailable(err error) error {
	return &apierror.Error{
		Status: http.StatusServiceUnavailable, Code: "upstream_failed", RetryAfter: time.Second,
		Message: "The request that this one waited for failed.", Err: err,
	}
}

// send answers with what was made of an entry. What it adds to the header is one text.
func (x *exchange) send(a rendered) {
	h := x.w.Header()
	for name, values := range a.header {
		h[name] = slices.Clip(values)
	}
	b := x.appendMark(make([]byte, 0, 160))
	mark := len(b)
	b = strconv.AppendInt(b, int64(len(a.body)), 10)
	length := len(b)
	b = strconv.AppendInt(b, int64(a.age/time.Second), 10)
	text := string(b)
	x.values = [...]string{text[:mark], text[mark:length], text[length:]}
	if before := h["Cache-Status"]; len(before) > 0 {
		h["Cache-Status"] = append(slices.Clip(before), x.values[0])
	} else {
		h["Cache-Status"] = x.values[0:1:1]
	}
	if hasBody(a.status) {
		h["Content-Length"] = x.values[1:2:2]
	}
	h["Age"] = x.values[2:3:3]
	x.g.Abort()
	x.w.WriteHeader(a.status)
	x.w.WriteHeaderNow()
	if len(a.body) > 0 && hasBody(a.status) && x.req.Method != http.MethodHead {
		_, _ = x.w.Write(a.body) // a client that left needs nothing more
	}
}

// hit answers from an entry, if it can be said in the form that is wanted.
func (x *exchange) hit(e *Entry, now time.Time) bool {
	a, ok := x.policy.render(x, e, now)
	if ok {
		x.announce(e, now)
		x.send(a)
	}
	return ok
}

// announce tells that the answer is from an entry.
func (x *exchange) announce(e *Entry, now time.Time) {
	x.status.Hit, x.status.TTL = true, floorSeconds(e.FreshUntil.Sub(now))
	if x.cfg.OnEvent == nil {
		return
	}
	event := x.event(Hit)
	event.Status, event.TTL = e.Status, x.status.TTL
	x.tell(x.client, event)
}

// floorSeconds rounds down, also below zero: what ends within a second has none left.
func floorSeconds(d time.Duration) time.Duration {
	whole := d.Truncate(time.Second)
	if whole > d {
		whole -= time.Second
	}
	return whole
}

// listNames reads a field that lists names.
func listNames(v string) (names []string) {
	for name := range strings.SplitSeq(v, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, http.CanonicalHeaderKey(name))
		}
	}
	return names
}
