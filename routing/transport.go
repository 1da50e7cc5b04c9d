package routing

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/attempt"
	"github.com/ginfer/ginfer/internal/peek"
)

// smallBody is how much of an unwanted answer is read so that its connection
// can be used again.
const smallBody = 4 << 10

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
		res, err := t.send(req, d, target)
		last := i == len(d.chain)-1 || again == nil
		if last || !t.fallsBack(req, res, err) {
			return res, err
		}
		discard(res)
		e := Event{Kind: FellBack, Model: d.Model, Version: d.chain[i+1].Version, From: target.Version, Err: err}
		if res != nil {
			e.Status = res.StatusCode
		}
		t.router.notify(req.Context(), e)
	}
	return nil, ErrNoDecision // a chain is never empty
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
	if to == "" || to == from || from == "" {
		return req, nil
	}
	body, ok := peek.Bytes(req)
	if !ok {
		closeBody(req)
		return nil, &apierror.Error{Status: http.StatusInternalServerError, Code: "body_not_held", Message: "The model's name could not be put into the request.", Err: ErrModel}
	}
	start, end, err := peek.Member(body, "model")
	if err != nil {
		return nil, errors.Join(ErrModel, err)
	}
	name, err := json.Marshal(to)
	if err != nil {
		return nil, err
	}
	renamed := make([]byte, 0, len(body)-(end-start)+len(name))
	renamed = append(append(append(renamed, body[:start]...), name...), body[end:]...)
	out := req.WithContext(req.Context())
	peek.SetBytes(out, renamed)
	return out, nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// discard ends an answer that is not wanted.
func discard(res *http.Response) {
	if res == nil || res.Body == nil {
		return
	}
	if res.ContentLength >= 0 && res.ContentLength <= smallBody {
		_, _ = io.CopyN(io.Discard, res.Body, smallBody)
	}
	_ = res.Body.Close()
}
