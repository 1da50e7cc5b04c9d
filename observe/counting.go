package observe

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"

	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/ginfer/ginfer/observe/internal/event"
	"github.com/ginfer/ginfer/observe/internal/plain"
)

// count counts an event.
func (m *Metrics) count(ctx context.Context, e event.Event) {
	if e, ok := e.(*event.Usage); ok {
		m.usage(ctx, e)
		return
	}
	ctx = sampled(ctx)
	switch e := e.(type) {
	case *event.Exchange:
		m.exchange(ctx, e)
	case *event.Stream:
		m.streamed(ctx, e)
	case *event.Auth:
		m.authenticated(ctx, e)
	case *event.Address:
		m.in.addresses.Add(ctx, 1)
	case *event.Keys:
		m.keysUpdated(ctx, e)
	case *event.Circuit:
		m.in.transitions.Add(ctx, 1, m.sets.add(labels{
			{keyUpstream, m.labels.of(e.Upstream)}, {keyCircuit, m.labels.of(e.Circuit)}, {keyState, e.State}, {keyReason, e.Reason},
		})...)
	case *event.Endpoint:
		m.in.changes.Add(ctx, 1, m.sets.add(labels{
			{keyUpstream, m.labels.of(e.Upstream)}, {keyEndpoint, m.labels.of(e.Endpoint)}, {keyChange, e.Change},
		})...)
	default:
		m.routed(ctx, e)
		m.limited(ctx, e)
		m.cached(ctx, e)
	}
}

// exchange counts an attempt, or the bytes of an exchange.
func (m *Metrics) exchange(ctx context.Context, e *event.Exchange) {
	if e.Finished {
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
	m.in.attempts.Add(ctx, 1, m.sets.add(labels{{keyAttemptKind, kind}, {keyOutcome, e.Outcome}, {keyEndpoint, m.labels.of(e.Endpoint)}})...)
	verb := recordOf(ctx).snapshot().method
	if verb == "" {
		verb = "_OTHER"
	}
	host, port := address(m.labels.of(e.Endpoint))
	m.in.clientDuration.Record(ctx, e.Duration.Seconds(), m.sets.record(labels{
		{keyMethod, verb},
		{keyAddress, host},
		{keyPort, port},
		{keyStatus, status(e.Status)},
		{keyErrorType, m.failure(e.Status, e.Err)},
	})...)
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
func (m *Metrics) usage(ctx context.Context, u *event.Usage) {
	r := recordOf(ctx).snapshot()
	e := entry{operation: r.operation, model: r.model, served: plain.Clean(u.Model, plain.Word)}
	if e.model == "" {
		e.model = e.served
	}
	if e.operation == "" {
		e.operation = "chat"
	}
	e.version, e.upstream = exchange.TargetOf(ctx)
	ctx = sampled(ctx)
	if u.Outcome == event.Complete && u.Status < 400 { // the model exists
		m.models.of(e.model)
		m.models.of(e.served)
	}
	set := m.generation(&e)
	timed := set
	timed[len(timed)-1] = label{keyErrorType, usageError(u)}
	m.in.genDuration.Record(ctx, u.Total.Seconds(), m.sets.record(timed)...)
	if u.Stream && u.FirstToken > 0 {
		m.in.genFirst.Record(ctx, u.FirstToken.Seconds(), m.sets.record(set)...)
	}
	for _, one := range [...]struct {
		kind string
		n    int64
	}{{"input", u.Input}, {"output", u.Output}} {
		if one.n > 0 {
			typed := set
			typed[len(typed)-1] = label{keyTokenType, one.kind}
			m.in.genTokens.Record(ctx, float64(one.n), m.sets.record(typed)...)
		}
	}
	if u.Stalls > 0 {
		m.in.stalls.Add(ctx, int64(u.Stalls), m.sets.add(set)...)
	}
}

func usageError(u *event.Usage) string {
	switch {
	case u.Outcome == event.Complete:
		return ""
	case u.Status >= 400:
		return status(u.Status)
	}
	return u.Outcome
}

// routed counts the events of the routing and of rollouts.
func (m *Metrics) routed(ctx context.Context, e event.Event) {
	switch e := e.(type) {
	case *event.Decided:
		m.in.decisions.Add(ctx, 1, m.sets.add(labels{{keyVersion, m.labels.of(e.Version)}, {keyModel, m.models.ifKnown(e.Model)}})...)
	case *event.FellBack:
		m.in.fallbacks.Add(ctx, 1, m.sets.add(labels{{keyFrom, m.labels.of(e.From)}, {keyVersion, m.labels.of(e.Version)}})...)
	case *event.Skipped:
		m.in.skipped.Add(ctx, 1, m.sets.add(labels{{keyVersion, m.labels.of(e.Version)}, {keyLacks, e.Lacks}})...)
	case *event.Swapped:
		m.in.swaps.Add(ctx, 1)
	case *event.Mirrored:
		m.in.mirrored.Add(ctx, 1, m.sets.add(labels{{keyVersion, m.labels.of(e.Version)}, {keyOutcome, e.Outcome}})...)
	case *event.Rollout:
		m.in.rollouts.Add(ctx, 1, m.sets.add(labels{{keyRollout, m.labels.of(e.Name)}, {keyState, e.State}})...)
	}
}

func (m *Metrics) authenticated(ctx context.Context, e *event.Auth) {
	l := labels{{keyAuthMethod, "anonymous"}}
	switch {
	case e.Err != nil:
		l = labels{{keyAuthMethod, "refused"}, {keyErrorType, m.failure(0, apierror.From(e.Err))}}
	case e.Caller != nil:
		l[0].value = m.labels.of(e.Caller.Method)
	}
	m.in.identified.Add(ctx, 1, m.sets.add(l)...)
	m.in.identifying.Record(ctx, e.Duration.Seconds(), m.sets.record(labels{l[0]})...)
}

func (m *Metrics) keysUpdated(ctx context.Context, e *event.Keys) {
	result := outcomeSuccess
	if e.Err != nil {
		result = outcomeFailure
	}
	m.in.keyUpdates.Add(ctx, 1, m.sets.add(labels{{keyUpstream, m.labels.of(e.Source)}, {keyOutcome, result}})...)
}

func (m *Metrics) streamed(ctx context.Context, e *event.Stream) {
	m.in.streamsEnded.Add(ctx, 1, m.sets.add(labels{{keyReason, e.Reason}})...)
	if e.Heartbeats > 0 {
		m.in.heartbeats.Add(ctx, int64(e.Heartbeats))
	}
}
