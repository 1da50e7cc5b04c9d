package exchange

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
	"golang.org/x/net/http/httpguts"
)

// errNothing is the error of a transport that returns neither a response nor an error.
var errNothing = errors.New("the transport returned no response and no error")

// Do calls next. An error or a panic ends the attempt; a response's body is wrapped, once per
// attempt. A refusal before anything was sent does not end it.
func (a *Attempt) Do(req *http.Request, next http.RoundTripper) (*http.Response, error) {
	a.enter()
	returned := false
	defer func() {
		if !returned {
			defer a.leave(true)
			a.finish(func() { a.panicked = true })
		}
	}()
	a.dog.arm(LimitFirstByte, a.start, a.limits.FirstByte)
	res, err := next.RoundTrip(req)
	returned = true
	a.dog.disarm(time.Now())
	if res == nil && err == nil {
		err = errNothing
	}
	switch {
	case IsRefused(err):
		a.leave(false)
		return nil, err
	case err != nil:
		defer a.leave(true)
		a.sent(req, err)
		a.finish(func() { a.err = err })
		return nil, err
	}
	a.leave(false)
	a.sent(req, nil)
	a.respond(req, res)
	return res, nil
}

func (a *Attempt) enter() {
	a.mu.Lock()
	a.calls++
	a.mu.Unlock()
}

// leave ends a call of Do. The outermost one releases the context of a failed attempt: a layer
// between may still use it before it repeats.
func (a *Attempt) leave(failed bool) {
	a.mu.Lock()
	a.calls--
	outermost := a.calls == 0
	a.mu.Unlock()
	if failed && outermost {
		a.release()
	}
}

// release cancels the contexts of an attempt that has ended and of those before it, except one
// that another layer may still repeat within its Do.
func (a *Attempt) release() {
	for ; a != nil; a = a.last {
		a.mu.Lock()
		busy := a.calls > 0
		a.mu.Unlock()
		if !busy {
			a.stop(nil)
		}
	}
}

// sent inspects the request that went upstream. The innermost layer, which calls first, decides.
func (a *Attempt) sent(req *http.Request, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.body != nil || a.ended {
		return
	}
	a.sender = a.x.sender(req)
	a.invalid = err != nil && !isDial(err) && (!isValid(req) || isTooMuch(err))
	a.ownLimit = grpcTimeout(req.Header)
}

// Fault names the part of a request line or host that no server accepts, as HTTP/2 lets clients
// send it; "": there is none.
func Fault(req *http.Request) string {
	switch {
	case strings.ContainsFunc(req.Method, func(r rune) bool { return !httpguts.IsTokenRune(r) }):
		return "method"
	case req.URL == nil || strings.ContainsFunc(req.URL.RawQuery, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return "query"
	case !httpguts.ValidHostHeader(req.Host):
		return "host"
	}
	return ""
}

// isValid reports whether a request can be written at all.
func isValid(req *http.Request) bool {
	if Fault(req) != "" {
		return false
	}
	for name, values := range req.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return false
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return false
			}
		}
	}
	return true
}

// isTooMuch reports whether the client's headers are longer than the server accepts. HTTP/2 finds
// that out before it sends them, and has no error value for it.
func isTooMuch(err error) bool {
	return strings.Contains(err.Error(), "request header list larger than peer's advertised limit")
}

// respond records the response and wraps its body.
func (a *Attempt) respond(req *http.Request, res *http.Response) {
	upgraded := res.StatusCode == http.StatusSwitchingProtocols
	a.mu.Lock()
	if a.body != nil || a.ended {
		b := a.body
		a.mu.Unlock()
		if upgraded && b != nil {
			b.rejoin(res)
		}
		return
	}
	a.head, a.status, a.header = time.Now(), res.StatusCode, res.Header
	if res.Body == nil {
		res.Body = http.NoBody
	}
	bodiless := req.Method == http.MethodHead || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified
	a.scans = !upgraded && !bodiless
	a.scan(res)
	a.body = &a.room
	a.body.take(a, res)
	if a.body.grpc {
		a.grpc = grpcStatus(res.Header)
	}
	if a.patience > 0 && a.limits.Prefetch && a.scanner.Stream() {
		a.dog.expect(a.start.Add(a.patience))
	}
	empty := isEmpty(res)
	res.Body = a.body.face()
	a.mu.Unlock()
	switch {
	case upgraded:
		a.dog.stop()
		a.began(a.head)
	case bodiless, empty:
		a.finish(func() { a.eof = true })
	}
}

// scan prepares the scanner for the response. The caller holds a.mu.
func (a *Attempt) scan(res *http.Response) {
	if a.decodes && a.scans && res.Body != http.NoBody {
		decode(res)
	}
	a.scanner = scanners.Get().(*llm.Scanner) //nolint:forcetypeassert // the pool holds nothing else
	if a.own != nil {
		a.scanner.ResetTo(a.own, res.Header)
	} else {
		a.scanner.Reset(a.api, res.Header)
	}
	if res.StatusCode >= http.StatusBadRequest {
		a.scanner.ExpectError(res.Header)
	}
}

// isEmpty reports whether the response certainly has no body. A length of 0 may just be unset.
func isEmpty(res *http.Response) bool {
	return res.Body == http.NoBody || res.ContentLength == 0 && (res.ProtoMajor > 1 || res.Header.Get("Content-Length") == "0")
}

// finish ends the attempt, once. It calls update with a.mu held.
func (a *Attempt) finish(update func()) {
	a.mu.Lock()
	if a.ended {
		a.mu.Unlock()
		return
	}
	update()
	f := a.facts()
	v := judge(&f)
	a.ended = true
	a.end = a.ending(a, v)
	a.recycle()
	list, unwatch := a.hooks.end.all, a.unwatch
	a.hooks.content.all, a.hooks.event.all, a.hooks.end.all = nil, nil, nil // no hook is added any more
	a.mu.Unlock()
	a.dog.stop()
	if unwatch != nil {
		unwatch()
	}
	defer a.x.ended(a) // also when a hook panics
	each(list, func(f func(*End)) { f(&a.end) })
}

// scanners is a pool: a scanner is larger than the rest of an attempt.
//
//nolint:gochecknoglobals // a pool
var scanners = sync.Pool{New: func() any { return new(llm.Scanner) }}

// unread is a scanner that has read nothing and is never written to.
//
//nolint:gochecknoglobals // a constant
var unread = sync.OnceValue(func() *llm.Scanner {
	s := new(llm.Scanner)
	s.Reset(llm.Unknown, nil)
	return s
})

// Call is Do for a layer that observes: it calls watch with the last attempt, which made the
// response, also when next panics. A refusal is no attempt.
func (a *Attempt) Call(req *http.Request, next http.RoundTripper, watch func(*Attempt)) (res *http.Response, err error) {
	defer func() {
		if !IsRefused(err) {
			watch(a.Latest())
		}
	}()
	return a.Do(req, next)
}
