package observe

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/observe/internal/plain"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/ginfer/ginfer/stream"
)

// The functions of this file count the packages' events. All may be called on nil.

// exchange counts an attempt, or the bytes of an exchange.
func (m *Metrics) exchange(ctx context.Context, e *proxy.Event) {
	if m == nil {
		return
	}
	if e.Kind == proxy.Finished {
		if e.Bytes > 0 {
			m.in.bytes.Add(ctx, e.Bytes)
		}
		return
	}
	kind := "retry"
	switch {
	case e.Hedge:
		kind = "hedge"
	case e.Attempt == 1:
		kind = "first"
	case e.Fallback:
		kind = "fallback"
	}
	m.in.attempts.Add(ctx, 1, m.sets.of(labels{{keyAttemptKind, kind}, {keyOutcome, e.Outcome.String()}, {keyEndpoint, m.labels.of(e.Endpoint)}}))
	verb := recordOf(ctx).snapshot().method
	if verb == "" {
		verb = "_OTHER"
	}
	host, port := address(m.labels.of(e.Endpoint))
	m.in.clientDuration.Record(ctx, e.Duration.Seconds(), m.sets.of(labels{
		{keyMethod, verb},
		{keyAddress, host},
		{keyPort, port},
		{keyStatus, status(e.Status)},
		{keyErrorType, m.failure(e.Status, e.Err)},
	}))
}

// address splits the name of an endpoint, which is a URL or any name that an operator
// chose.
func address(endpoint string) (host, port string) {
	_, rest, named := strings.Cut(endpoint, "://")
	if !named {
		rest = endpoint
	}
	rest, _, _ = strings.Cut(rest, "/")
	host, port, err := net.SplitHostPort(rest)
	if _, bad := strconv.Atoi(port); err != nil || bad != nil {
		return rest, ""
	}
	return host, port
}

// failure returns the type of an error: its code, the status, or "_OTHER".
func (m *Metrics) failure(code int, err error) string {
	own, ok := errors.AsType[*apierror.Error](err)
	switch {
	case ok && own != nil && own.Code != "":
		return m.labels.of(own.Code)
	case code >= 400:
		return status(code)
	case err != nil:
		return "_OTHER"
	}
	return ""
}

// usage records an attempt of a request to a model.
func (m *Metrics) usage(ctx context.Context, u *stream.Usage) {
	if m == nil {
		return
	}
	r := recordOf(ctx).snapshot()
	e := entry{operation: r.operation, model: r.model, served: plain.Clean(u.Model, plain.Word)}
	if e.model == "" {
		e.model = e.served
	}
	if e.operation == "" {
		e.operation = "chat"
	}
	if target, ok := routing.TargetFrom(ctx); ok {
		e.version, e.upstream = target.Version, target.Upstream
	}
	if u.Outcome == stream.Complete && u.Status < 400 { // the model exists
		m.models.of(e.model)
		m.models.of(e.served)
	}
	set := m.generation(&e)
	timed := set
	timed[len(timed)-1] = label{keyErrorType, usageError(u)}
	m.in.genDuration.Record(ctx, u.Total.Seconds(), m.sets.of(timed))
	if u.Stream && u.FirstToken > 0 {
		m.in.genFirst.Record(ctx, u.FirstToken.Seconds(), m.sets.of(set))
	}
	for _, one := range [...]struct {
		kind string
		n    int64
	}{{"input", u.Input}, {"output", u.Output}} {
		if one.n > 0 {
			typed := set
			typed[len(typed)-1] = label{keyTokenType, one.kind}
			m.in.genTokens.Record(ctx, float64(one.n), m.sets.of(typed))
		}
	}
	if u.Stalls > 0 {
		m.in.stalls.Add(ctx, int64(u.Stalls), m.sets.of(set))
	}
}

func usageError(u *stream.Usage) string {
	switch {
	case u.Outcome == stream.Complete:
		return ""
	case u.Status >= 400:
		return status(u.Status)
	}
	return u.Outcome.String()
}

// token records the time between two tokens. It is called for each of them.
func (m *Metrics) token(ctx context.Context, pause time.Duration) {
	if m == nil {
		return
	}
	var version, upstream string
	if target, ok := routing.TargetFrom(ctx); ok {
		version, upstream = target.Version, target.Upstream
	}
	m.in.genPause.Record(ctx, pause.Seconds(), m.sets.of(labels{{keyProvider, m.provider(upstream)}, {keyVersion, m.labels.of(version)}}))
}

func (m *Metrics) routed(ctx context.Context, e *routing.Event) {
	if m == nil {
		return
	}
	switch e.Kind {
	case routing.Decided:
		m.in.decisions.Add(ctx, 1, m.sets.of(labels{{keyVersion, m.labels.of(e.Version)}, {keyModel, m.models.ifKnown(e.Model)}}))
	case routing.FellBack:
		m.in.fallbacks.Add(ctx, 1, m.sets.of(labels{{keyFrom, m.labels.of(e.From)}, {keyVersion, m.labels.of(e.Version)}}))
	case routing.Skipped:
		m.in.skipped.Add(ctx, 1, m.sets.of(labels{{keyVersion, m.labels.of(e.Version)}, {keyLacks, e.Lacks}}))
	case routing.Swapped:
		m.in.swaps.Add(ctx, 1)
	case routing.Mirrored, routing.MirrorFull:
		m.in.mirrored.Add(ctx, 1, m.sets.of(labels{{keyVersion, m.labels.of(e.Version)}, {keyOutcome, mirrorOutcome(e)}}))
	}
}

func mirrorOutcome(e *routing.Event) string {
	switch {
	case e.Kind == routing.MirrorFull:
		return "left_out"
	case e.Err != nil, e.Status >= 500:
		return outcomeFailure
	}
	return outcomeSuccess
}

// rolledOut counts a change of a rollout.
func (m *Metrics) rolledOut(ctx context.Context, e *rollout.Event) {
	if m == nil {
		return
	}
	state := e.State.String()
	if e.Err != nil {
		state = "store_down"
	}
	m.in.rollouts.Add(ctx, 1, m.sets.of(labels{{keyRollout, m.labels.of(e.Name)}, {keyState, state}}))
}

func (m *Metrics) limited(ctx context.Context, name string, e *ratelimit.Event) {
	if m == nil {
		return
	}
	limiter := label{keyLimiter, m.labels.of(name)}
	switch e.Kind {
	case ratelimit.Allowed:
		m.in.limits.Add(ctx, 1, m.sets.of(labels{limiter, {keyDecision, "allowed"}}))
		if e.Wait > 0 {
			m.in.limitWait.Record(ctx, e.Wait.Seconds(), m.sets.of(labels{limiter}))
		}
		m.limitTokens(ctx, limiter, "reserved", e.Tokens)
	case ratelimit.Refused:
		m.in.limits.Add(ctx, 1, m.sets.of(labels{limiter, {keyDecision, "refused"}, {keyLimit, m.labels.of(e.Limit)}}))
	case ratelimit.WouldRefuse:
		m.in.limits.Add(ctx, 1, m.sets.of(labels{limiter, {keyDecision, "would_refuse"}, {keyLimit, m.labels.of(e.Limit)}}))
	case ratelimit.Settled:
		m.limitTokens(ctx, limiter, "spent", e.Tokens)
	case ratelimit.StoreDown:
		m.in.limitDown.Record(ctx, 1, m.sets.of(labels{limiter}))
	case ratelimit.StoreUp:
		m.in.limitDown.Record(ctx, 0, m.sets.of(labels{limiter}))
	case ratelimit.Changed:
		m.in.concurrency.Record(ctx, int64(e.Concurrency), m.sets.of(labels{limiter}))
	}
}

func (m *Metrics) limitTokens(ctx context.Context, limiter label, state string, n int64) {
	if n > 0 {
		m.in.limitTokens.Add(ctx, n, m.sets.of(labels{limiter, {keyState, state}}))
	}
}

func (m *Metrics) authenticated(ctx context.Context, e *auth.Event) {
	if m == nil {
		return
	}
	l := labels{{keyAuthMethod, "anonymous"}}
	switch {
	case e.Err != nil:
		l = labels{{keyAuthMethod, "refused"}, {keyErrorType, m.failure(0, apierror.From(e.Err))}}
	case e.Identity != nil:
		l[0].value = m.labels.of(e.Identity.Method)
	}
	m.in.identified.Add(ctx, 1, m.sets.of(l))
	m.in.identifying.Record(ctx, e.Duration.Seconds(), m.sets.of(labels{l[0]}))
}

func (m *Metrics) address(ctx context.Context) {
	if m != nil {
		m.in.addresses.Add(ctx, 1)
	}
}

func (m *Metrics) keysUpdated(ctx context.Context, source string, err error) {
	if m == nil {
		return
	}
	result := outcomeSuccess
	if err != nil {
		result = outcomeFailure
	}
	m.in.keyUpdates.Add(ctx, 1, m.sets.of(labels{{keyUpstream, m.labels.of(source)}, {keyOutcome, result}}))
}

func (m *Metrics) circuit(ctx context.Context, upstream string, e *breaker.Event) {
	if m != nil && e.Route == "" { // the names of routes are not bounded
		m.in.transitions.Add(ctx, 1, m.sets.of(labels{
			{keyUpstream, m.labels.of(upstream)}, {keyCircuit, m.labels.of(e.Circuit)}, {keyState, e.To.String()}, {keyReason, e.Reason},
		}))
	}
}

func (m *Metrics) endpoint(ctx context.Context, upstream string, e *balance.Event) {
	if m != nil {
		m.in.changes.Add(ctx, 1, m.sets.of(labels{
			{keyUpstream, m.labels.of(upstream)}, {keyEndpoint, m.labels.of(e.Endpoint)}, {keyChange, e.Kind.String()},
		}))
	}
}

func (m *Metrics) streamed(ctx context.Context, e *stream.Event) {
	if m == nil {
		return
	}
	m.in.streamsEnded.Add(ctx, 1, m.sets.of(labels{{keyReason, guardReason(e.Err)}}))
	if e.Heartbeats > 0 {
		m.in.heartbeats.Add(ctx, int64(e.Heartbeats))
	}
}

// guardReason returns the reason why a stream's guard ended it, or "none".
func guardReason(err error) string {
	for reason, one := range map[string]error{"idle": stream.ErrIdle, "total": stream.ErrTotal, "draining": stream.ErrDraining, "slow_client": stream.ErrSlowClient} {
		if errors.Is(err, one) {
			return reason
		}
	}
	return "none"
}
