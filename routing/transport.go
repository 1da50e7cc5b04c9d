package routing

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/internal/ginctx"
)

// Transport returns the RoundTripper that sends a request to the upstream of its decision.
// It fails with [ErrNoDecision] if the context has none.
func (r *Router) Transport() http.RoundTripper { return transport{r} }

type transport struct{ router *Router }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	d, ok := ginctx.Value(req.Context(), contextKey{}).(*Decision)
	if !ok {
		closeBody(req)
		return nil, &apierror.Error{Status: http.StatusInternalServerError, Code: "no_decision", Message: "The gateway did not select a model version.", Err: ErrNoDecision}
	}
	t.mirror(req, d)
	return t.walk(req, d) //nolint:contextcheck // it has the request's context
}

// send calls target i of the chain, in attempt a.
func (t transport) send(a *exchange.Attempt, req *http.Request, d *Decision, i int) (*http.Response, error) {
	target := &d.chain[i]
	upstream := t.router.cfg.Upstreams[target.Upstream]
	if upstream == nil { // tables are checked against the upstreams
		closeBody(req)
		return nil, unsent(a, fmt.Errorf("%w: no upstream %q", ErrNoDecision, target.Upstream))
	}
	out, model, err := rename(req.WithContext(context.WithValue(req.Context(), exchange.TargetKey{}, placed{target})), d.Model, target.UpstreamModel)
	if err != nil {
		return nil, unsent(a, err)
	}
	a.SetVersion(target.Version)
	res, err := t.call(a, out, upstream, d, i)
	if err != nil {
		return nil, err
	}
	t.sign(res, d, i, model)
	return res, nil
}

// call sends a request to the upstream of target i. Rollouts measure the decided version
// only, and no fallback.
func (t transport) call(a *exchange.Attempt, req *http.Request, upstream http.RoundTripper, d *Decision, i int) (*http.Response, error) {
	if i == 0 && d.sample != nil {
		return d.sample.RoundTrip(req, upstream)
	}
	return a.Do(req, upstream)
}

// unsent ends an attempt that the gateway can't make.
func unsent(a *exchange.Attempt, err error) error {
	a.Finish(err)
	return err
}

// maxModelHeader bounds the model's name in a header, in bytes: clients choose the name.
const maxModelHeader = 256

// sign writes the version and model into the response headers. They belong to the gateway:
// the upstream's values are replaced or removed.
func (t transport) sign(res *http.Response, d *Decision, i int, model string) {
	if res.Header == nil {
		res.Header = make(http.Header)
	}
	if len(model) > maxModelHeader || strings.ContainsFunc(model, isControl) {
		model = ""
	}
	from := ""
	if i > 0 {
		from = d.Version
	}
	cfg := &t.router.cfg
	for _, h := range [...]struct{ name, value string }{{cfg.VersionHeader, d.chain[i].Version}, {cfg.ModelHeader, model}, {cfg.FallbackHeader, from}} {
		switch {
		case h.name == "-":
		case h.value == "":
			res.Header.Del(h.name)
		default:
			res.Header.Set(h.name, h.value)
		}
	}
}

// rename returns the request with another model in its body, or the request itself, and the
// model that it names. All other bytes of the body stay the same.
func rename(req *http.Request, from, to string) (out *http.Request, model string, err error) {
	if to == "" || to == from {
		return req, from, nil
	}
	if out, ok := body.Rename(req, to); ok {
		return out, to, nil
	}
	if _, held := body.Bytes(req); held {
		return req, from, nil
	}
	closeBody(req)
	return nil, "", &apierror.Error{Status: http.StatusInternalServerError, Code: "body_not_held", Message: "The model's name could not be written into the request.", Err: ErrModel}
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
