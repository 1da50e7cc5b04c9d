package exchange

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
	"golang.org/x/net/http/httpguts"
)

// Attempt is one upstream call. All methods are safe for concurrent use.
type Attempt struct {
	x      *Exchange
	number int
	hedge  bool
	outer  context.Context //nolint:containedctx // what began it: it ends with the client's request
	ctx    context.Context //nolint:containedctx // its own
	stop   context.CancelCauseFunc
	dog    watchdog
	start  time.Time
	limits Limits
	api    llm.API

	mu       sync.Mutex
	next     *Attempt // that followed it within a layer below; nil: none
	endpoint string
	others   int
	patience time.Duration
	filter   Filter
	noted    *Verdict
	operate  bool
	invalid  bool
	open     bool // by Prefetch

	head    time.Time
	content time.Time
	status  int
	header  http.Header
	body    *body // nil: there is none yet
	scanner llm.Scanner
	scans   bool
	events  int64
	bytes   int64
	eof     bool
	closed  bool
	err     error
	ended   bool
	end     End
	hooks   hooks
	unwatch func() bool // the end of outer; nil: it is not watched
}

type attemptKey struct{}

// Current returns the attempt in ctx, or nil.
func Current(ctx context.Context) *Attempt {
	a, _ := ctx.Value(attemptKey{}).(*Attempt)
	return a
}

// Start returns the attempt that req belongs to, and the request that carries it: the one
// under way, or a new one. A request that carries an ended attempt begins one beside it.
func Start(req *http.Request) (*Attempt, *http.Request) {
	a := Current(req.Context())
	switch {
	case a == nil:
		x, _ := req.Context().Value(exchangeKey{}).(*Exchange)
		if x == nil {
			x = new(Exchange)
		}
		return x.Begin(req)
	case !a.isEnded():
		return a, req
	}
	return a.follow(req)
}

// Begin makes a new attempt, whatever req carries.
func (x *Exchange) Begin(req *http.Request) (*Attempt, *http.Request) {
	return x.begin(req, req.Context(), req.Context())
}

// BeginHedge is Begin for an attempt beside another one that is slow.
func (x *Exchange) BeginHedge(req *http.Request) (*Attempt, *http.Request) {
	a, req := x.Begin(req)
	a.hedge = true
	return a, req
}

func (x *Exchange) begin(req *http.Request, from, outer context.Context) (*Attempt, *http.Request) { //nolint:contextcheck // from has outer's end
	a := &Attempt{x: x, number: x.next(), outer: outer, start: time.Now(), limits: x.Limits, api: x.API}
	path := ""
	if req.URL != nil {
		path = req.URL.Path
	}
	if api := llm.Of(req.Method, path); api != llm.Unknown {
		a.api = api
	}
	ctx, stop := context.WithCancelCause(from)
	a.stop = stop
	a.ctx = ctx
	a.dog.cancel, a.dog.total, a.dog.hurried = stop, a.limits.Deadline, a.limits.Hurried
	if a.limits.FirstContent > 0 && a.api.Generates() {
		a.dog.expect(a.start.Add(a.limits.FirstContent))
	}
	if !x.Managed && outer.Done() != nil {
		a.unwatch = context.AfterFunc(outer, func() { a.finish(func() {}) })
	}
	return a, req.WithContext(context.WithValue(ctx, attemptKey{}, a))
}

// follow makes the attempt after one that ended.
func (a *Attempt) follow(req *http.Request) (*Attempt, *http.Request) {
	b, req := a.x.begin(req, life{values: req.Context(), outer: a.outer, ended: a.ctx}, a.outer)
	b.hedge = a.hedge
	a.mu.Lock()
	a.next = b
	a.mu.Unlock()
	return b, req
}

// Latest is the attempt itself, or the last of those that followed it within a layer below.
func (a *Attempt) Latest() *Attempt {
	for {
		a.mu.Lock()
		next := a.next
		a.mu.Unlock()
		if next == nil {
			return a
		}
		a = next
	}
}

// Exchange is what the attempt is of.
func (a *Attempt) Exchange() *Exchange { return a.x }

// Number is 1 for the exchange's first attempt.
func (a *Attempt) Number() int { return a.number }

// Hedge reports whether the attempt was begun beside another one that is slow.
func (a *Attempt) Hedge() bool { return a.hedge }

// Began is when it did.
func (a *Attempt) Began() time.Time { return a.start }

// API is the one that is called.
func (a *Attempt) API() llm.API { return a.api }

// Context is the attempt's own. It ends with the attempt's limits.
func (a *Attempt) Context() context.Context { return a.ctx }

// ConnectTimeout bounds the setting up of a connection; 0: the transport decides. It may be
// called on nil.
func (a *Attempt) ConnectTimeout() time.Duration {
	if a == nil {
		return 0
	}
	return a.limits.Connect
}

// SetPatience bounds, for this attempt, the time to the begin of its response: of one that
// is kept back to its first content. It is called before Do.
func (a *Attempt) SetPatience(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d > 0 && (a.limits.FirstByte <= 0 || d < a.limits.FirstByte) {
		a.limits.FirstByte, a.patience = d, d
	}
}

// Cancel ends what the attempt waits for.
func (a *Attempt) Cancel(cause error) { a.stop(cause) }

// Note records the verdict before the attempt has ended: for who knows better, such as a
// transport that ended it. The first one stands.
func (a *Attempt) Note(v Verdict) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.noted == nil && !a.ended {
		a.noted = &v
	}
}

// Use records the endpoint that the attempt goes to.
func (a *Attempt) Use(endpoint string) {
	a.mu.Lock()
	a.endpoint = endpoint
	a.mu.Unlock()
	a.x.use(endpoint)
}

// Endpoint is where the attempt went; "" when no balancer said so.
func (a *Attempt) Endpoint() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.endpoint
}

// SetOthers records how many other available endpoints are still unused.
func (a *Attempt) SetOthers(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.others = n
}

// Others is what SetOthers recorded.
func (a *Attempt) Others() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.others
}

// SetFilter has f decide what becomes of each event. It is called before the body is read.
func (a *Attempt) SetFilter(f Filter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.filter = f
}

// Do calls next and takes care of what it returns: an error or a panic ends the attempt, a
// response's body is wrapped, once for each attempt. A refusal before anything was sent is
// no end.
func (a *Attempt) Do(req *http.Request, next http.RoundTripper) (*http.Response, error) {
	returned := false
	defer func() {
		if !returned {
			a.finish(func() { a.end.Err = ErrPanic })
		}
	}()
	a.dog.arm(LimitFirstByte, a.start, a.limits.FirstByte)
	res, err := next.RoundTrip(req)
	returned = true
	a.dog.disarm()
	switch {
	case IsRefused(err):
		return nil, err
	case err != nil:
		a.sent(req, true)
		a.finish(func() { a.err = err })
		return nil, err
	}
	a.sent(req, false)
	a.respond(req, res)
	return res, nil
}

// sent looks at what went upstream: the innermost layer sees it last, and is asked first.
func (a *Attempt) sent(req *http.Request, failed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.body != nil || a.ended {
		return
	}
	a.operate = a.x.isOperators(req)
	a.invalid = failed && !isValid(req)
}

// isValid reports whether a request can be written at all.
func isValid(req *http.Request) bool {
	if req.URL == nil || strings.ContainsFunc(req.Method, func(r rune) bool { return !httpguts.IsTokenRune(r) }) {
		return false
	}
	if strings.ContainsFunc(req.URL.RawQuery, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
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

// respond takes the response.
func (a *Attempt) respond(req *http.Request, res *http.Response) {
	a.mu.Lock()
	if a.body != nil || a.ended {
		a.mu.Unlock()
		return
	}
	a.head, a.status, a.header = time.Now(), res.StatusCode, res.Header
	if res.Body == nil {
		res.Body = http.NoBody
	}
	headOnly := req.Method == http.MethodHead || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified
	a.scanner.Reset(a.api, res.Header)
	a.scans = res.StatusCode != http.StatusSwitchingProtocols && !headOnly
	a.body = newBody(a, res)
	if a.patience > 0 && a.limits.Prefetch && a.scanner.Stream() {
		a.dog.expect(a.start.Add(a.patience))
	}
	a.mu.Unlock()
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols:
		a.began(a.head)
	case headOnly, res.Body == http.NoBody, res.ContentLength == 0:
		a.finish(func() { a.eof = true })
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		if _, ok := a.body.src.(writer); ok {
			res.Body = duplex{a.body}
			return
		}
	}
	res.Body = a.body
}

// Verdict judges the attempt as it is so far, or as it ended.
func (a *Attempt) Verdict() Verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return a.end.Verdict
	}
	return judge(a.facts())
}

// Finish ends the attempt with an error of the caller's: for one that no layer ended.
func (a *Attempt) Finish(err error) { a.finish(func() { a.err = err }) }

func (a *Attempt) isEnded() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ended
}

// finish ends the attempt, once: update is called with a.mu held.
func (a *Attempt) finish(update func()) {
	a.mu.Lock()
	if a.ended {
		a.mu.Unlock()
		return
	}
	update()
	f := a.facts()
	f.panic = a.end.Err == ErrPanic //nolint:errorlint // it is our own mark
	a.ended = true
	a.end = a.ending(judge(f))
	run := a.hooks.take()
	a.mu.Unlock()
	a.dog.stop()
	if a.unwatch != nil {
		a.unwatch()
	}
	run.ended(&a.end)
	a.x.ended(a)
}

// ending is the End with this verdict. The caller holds a.mu.
func (a *Attempt) ending(v Verdict) End {
	usage, counted := a.scanner.Usage()
	return End{
		Verdict: v, Attempt: a, Status: a.status, Header: a.header, Said: a.scanner.Failure(),
		Stream: a.scanner.Stream(), Whole: a.eof || a.scanner.Terminal(), Readable: a.scanner.Readable(),
		Usage: usage, Counted: counted, Delivered: a.scanner.Delivered(), Events: a.scanner.Events(), Finish: a.scanner.Finish(), API: a.scanner.API(),
		Start: a.start, Head: a.head, Content: a.content, Over: time.Now(), Bytes: a.bytes,
	}
}

// facts are what is known now. The caller holds a.mu.
func (a *Attempt) facts() *facts {
	s := &a.scanner
	f := &facts{
		status: a.status, err: a.err, cause: context.Cause(a.ctx), noted: a.noted, eof: a.eof, closed: a.closed,
		late: a.limits.Late, invalid: a.invalid, operate: a.operate, grpc: -1,
		generates: a.api.Generates() && a.status == http.StatusOK, begun: !a.content.IsZero(),
	}
	if a.outer.Err() != nil {
		f.gone = context.Cause(a.outer)
	}
	if a.x.Upload != nil {
		f.upload = a.x.Upload()
	}
	if a.body == nil {
		return f
	}
	if llm.IsGRPC(a.header.Get("Content-Type")) {
		f.grpc = grpcStatus(a.header, a.body.res.Trailer)
	}
	if a.scans {
		f.declared = s.Declared() || a.bytes == 0
		f.empty = s.Empty() && s.Declared() || a.bytes == 0
		f.broken = s.Declared() && !s.Readable()
		f.cut, f.finished, f.said = s.Cut(), s.Finished(), s.Failure()
	}
	return f
}

// Status is that of the response; 0: there is none yet.
func (a *Attempt) Status() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

// Header is that of the response; nil: there is none yet. It must not be changed.
func (a *Attempt) Header() http.Header {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.header
}
