package routing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/attempt"
	"github.com/ginfer/ginfer/internal/peek"
)

// Transport returns the RoundTripper that sends a request to the upstream of
// its decision. It fails with [ErrNoDecision] when the context has none.
func (r *Router) Transport() http.RoundTripper { return transport{r} }

type transport struct{ router *Router }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	d, ok := req.Context().Value(contextKey{}).(*Decision)
	if !ok {
		closeBody(req)
		return nil, &apierror.Error{Status: http.StatusInternalServerError, Code: "no_decision", Message: "The gateway did not decide on a model version.", Err: ErrNoDecision}
	}
	again := replayer(req)
	for i, target := range d.chain {
		if i > 0 {
			body, err := again()
			if err != nil {
				return nil, err
			}
			req = req.WithContext(req.Context())
			req.Body = body
		}
		last := i == len(d.chain)-1 || again == nil
		res, err := t.attempt(req, d, target, last)
		if last || !t.fallsBack(req, res, err) {
			return res, err
		}
		t.fallBack(req, d, i, res, err)
	}
	return nil, ErrNoDecision // a chain is never empty
}

// fallBack leaves target i for the next one. The proxy must not begin anew
// after that: the request would go through the chain once more.
func (t transport) fallBack(req *http.Request, d *Decision, i int, res *http.Response, err error) {
	attempt.From(req.Context()).MakeLast()
	e := Event{Kind: FellBack, Model: d.Model, Version: d.chain[i+1].Version, From: d.chain[i].Version, Err: err}
	if res != nil {
		e.Status = res.StatusCode
		_ = res.Body.Close() // what is left of it may never come
	}
	t.router.notify(req.Context(), e)
}

// attempt asks one target. If another one follows, it must begin to answer
// within the target's patience.
func (t transport) attempt(req *http.Request, d *Decision, target Target, last bool) (*http.Response, error) {
	if last || target.Patience <= 0 {
		return t.send(req, d, target)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(target.Patience, func() { cancel(errPatience) })
	res, err := t.send(req.WithContext(ctx), d, target)
	if !timer.Stop() && err == nil { // too late: the context is cancelled
		_ = res.Body.Close()
		res, err = nil, errPatience
	}
	if err != nil {
		if errors.Is(context.Cause(ctx), errPatience) {
			err = errPatience
		}
		cancel(nil)
		return nil, err
	}
	res.Body = &cancelling{ReadCloser: res.Body, cancel: cancel}
	return res, nil
}

// errPatience is attempt.ErrTimeout, for balancers to count.
var errPatience = fmt.Errorf("routing: no answer began in time: %w", attempt.ErrTimeout)

// cancelling ends a context when a body is closed.
type cancelling struct {
	io.ReadCloser

	cancel context.CancelCauseFunc
}

// Close implements io.Closer.
func (c *cancelling) Close() error {
	defer c.cancel(nil)
	return c.ReadCloser.Close()
}

// send makes the call to one target.
func (t transport) send(req *http.Request, d *Decision, target Target) (*http.Response, error) {
	upstream := t.router.cfg.Upstreams[target.Upstream]
	if upstream == nil { // tables are checked against the upstreams
		closeBody(req)
		return nil, fmt.Errorf("%w: no upstream %q", ErrNoDecision, target.Upstream)
	}
	out, err := rename(req, d.Model, target.UpstreamModel)
	if err != nil {
		return nil, err
	}
	res, err := upstream.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	if t.router.cfg.VersionHeader != "-" {
		if res.Header == nil {
			res.Header = make(http.Header)
		}
		res.Header.Set(t.router.cfg.VersionHeader, target.Version)
	}
	return res, nil
}

// fallsBack reports whether a target failed and the next one is to be asked:
// not while the proxy would repeat the try, nor for a client that left, nor
// beyond the proxy's budget.
func (t transport) fallsBack(req *http.Request, res *http.Response, err error) bool {
	if err == nil && res.StatusCode != http.StatusTooManyRequests && res.StatusCode < 500 {
		return false
	}
	if req.Context().Err() != nil {
		return false
	}
	try := attempt.From(req.Context())
	return try.Final(res, err) && try.Spend()
}

// replayer returns how to get the body once more; nil when that can't be done.
func replayer(req *http.Request) func() (io.ReadCloser, error) {
	if b, ok := peek.Bytes(req); ok {
		return func() (io.ReadCloser, error) {
			var again http.Request
			peek.SetBytes(&again, b)
			return again.Body, nil
		}
	}
	return req.GetBody
}

// rename returns the request with another model in its body, or the request
// itself. Every other byte of the body stays.
func rename(req *http.Request, from, to string) (*http.Request, error) {
	if to == "" || to == from {
		return req, nil
	}
	body, ok := peek.Bytes(req)
	if !ok {
		closeBody(req)
		return nil, &apierror.Error{Status: http.StatusInternalServerError, Code: "body_not_held", Message: "The model's name could not be put into the request.", Err: ErrModel}
	}
	renamed, ok := withModel(body, to)
	if !ok {
		return req, nil
	}
	out := req.WithContext(req.Context())
	peek.SetBytes(out, renamed)
	out.Header = req.Header.Clone()
	for _, name := range [...]string{"Content-Length", "Content-Digest", "Digest", "Content-Md5"} {
		out.Header.Del(name) // they describe the body as it was
	}
	return out, nil
}

// withModel puts the model into a JSON object; anything else stays as it is.
func withModel(body []byte, model string) ([]byte, bool) {
	name, err := json.Marshal(model)
	if err != nil { // a string: cannot happen
		return nil, false
	}
	start, end, err := peek.Member(body, "model")
	if err == nil {
		return slices.Concat(body[:start], name, body[end:]), true
	}
	if !errors.Is(err, peek.ErrNotFound) {
		return nil, false
	}
	open := bytes.IndexByte(body, '{') + 1
	rest := bytes.TrimLeft(body[open:], " \t\r\n")
	member := slices.Concat([]byte(`"model":`), name)
	if rest[0] != '}' {
		member = append(member, ',')
	}
	return slices.Concat(body[:open], member, rest), true
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
