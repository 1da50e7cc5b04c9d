package observe

import (
	"log/slog"
	"sync"
	"time"

	"github.com/ginfer/ginfer/observe/internal/plain"
)

// line is the attributes of a log line. Unknown ones are omitted.
type line []slog.Attr

// linesPool is a pool: LogAttrs copies the attributes.
//
//nolint:gochecknoglobals // a pool
var linesPool = sync.Pool{New: func() any { l := make(line, 0, 40); return &l }}

// release empties the line, so that it keeps no text alive.
func (l *line) release() {
	clear(*l)
	*l = (*l)[:0]
	linesPool.Put(l)
}

func (l *line) text(key, value string) {
	if value != "" {
		*l = append(*l, slog.String(key, value))
	}
}

func (l *line) number(key string, value int64) { *l = append(*l, slog.Int64(key, value)) }

func (l *line) flag(key string, value bool) {
	if value {
		*l = append(*l, slog.Bool(key, true))
	}
}

// ms adds a duration in milliseconds, to the microsecond.
func (l *line) ms(key string, d time.Duration) {
	if d > 0 {
		*l = append(*l, slog.Float64(key, milliseconds(d)))
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// request adds the request and its outcome.
func (l *line) request(e *entry, subject func(Caller) string) {
	l.text("request_id", e.id)
	if e.trace.IsValid() {
		l.text("trace_id", e.trace.String())
		l.text("span_id", e.span.String())
	}
	l.text(string(keyMethod), e.method)
	l.text(string(keyRoute), e.route)
	l.text(string(keyPath), e.path)
	l.text(string(keyProtocol), e.protocolVersion())
	l.number(string(keyStatus), int64(e.status))
	l.text("outcome", e.outcome)
	l.text(string(keyErrorType), e.code)
	if e.outcome != outcomeSuccess {
		l.text("error.message", e.reason)
	}
	l.flag("panic", e.panicked)
	if by := e.caller; by != nil {
		if subject != nil {
			l.text("enduser.id", plain.Clean(subject(*by), plain.Word))
		}
		l.text("tenant", plain.Clean(by.Tenant, plain.Word))
		l.text(string(keyAuthMethod), plain.Clean(by.Method, plain.Word))
	}
}

// exchange adds the version, endpoint and attempts, the cache, the limits and the usage.
func (l *line) exchange(e *entry) {
	l.text(string(keyOperation), e.operation)
	l.text(string(keyModel), e.model)
	l.text(string(keyServed), e.served)
	l.text(string(keyVersion), e.version)
	l.text(string(keyUpstream), e.upstream)
	l.text(string(keyEndpoint), e.endpoint)
	l.text(string(keyUpstreamID), e.upstreamID)
	if e.attempts > 0 {
		l.number(string(keyAttempts), int64(e.attempts))
	}
	l.flag(string(keyHedge), e.hedged)
	l.flag("gateway.hedge.won", e.hedgeWon)
	l.text(string(keyFrom), e.fallback)
	l.text(string(keyCache), e.cache)
	l.text("gateway.cache.reason", e.notCache)
	l.text(string(keyLimit), e.limit)
	l.text(string(keyShadow), e.shadow)
	if e.usage != nil {
		l.number(string(keyInput), e.usage.Input)
		l.number(string(keyOutput), e.usage.Output)
		if e.usage.Cached > 0 {
			l.number(string(keyCached), e.usage.Cached)
		}
		l.flag(string(keyEstimated), e.usage.Estimated)
		l.flag("gateway.stream", e.usage.Stream)
	}
}

// times adds durations and sizes.
func (l *line) times(e *entry) {
	l.ms("duration_ms", e.duration)
	l.ms("wait_ms", e.waited)
	l.ms("first_byte_ms", e.firstByte)
	l.ms("first_token_ms", e.firstToken())
	if e.usage != nil {
		l.ms("per_token_ms", e.usage.PerToken)
	}
	if e.bytesIn > 0 {
		l.number(string(keyBytesIn), e.bytesIn)
	}
	l.number(string(keyBytesOut), e.bytesOut)
}
