package observe

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/ginctx"
	"github.com/ginfer/ginfer/observe/internal/plain"
)

// AccessLogConfig configures an AccessLog. Every field has a default.
type AccessLogConfig struct {
	// Logger is the destination of the lines. A request waits for it, so it should not
	// block on a slow disk. Default: slog.Default().
	Logger *slog.Logger
	// Sample is the number of successes of which one is logged, with gateway.sample set to
	// it. Other outcomes are always logged. Default: 1, all; negative: none.
	Sample int
	// Slow is the duration from which a success is always logged. Default: 10 s; negative:
	// off.
	Slow time.Duration
	// Subject returns the name of a caller; "" omits it. A subject may be personal data,
	// which [Pseudonyms] hides. Default: Caller.Subject.
	Subject func(Caller) string
	// Path adds the path, without its query. It may be personal data. Default: false.
	Path bool
	// OwnIDs ignores the request IDs of clients. Default: false; a valid X-Request-Id (1 to
	// 128 letters, digits, and -_.:+/=) is kept.
	OwnIDs bool
	// IDHeader is the response header with the gateway's ID of the request. X-Request-Id has it
	// too, unless the upstream sends one of its own, which stays. Default:
	// X-Gateway-Request-Id.
	IDHeader string
	// Attrs returns attributes to add to a line. They are written verbatim. Default: none.
	Attrs func(*gin.Context) []slog.Attr
}

// AccessLog is a middleware that writes one line per request, at its end, and gives the
// request its ID. It is safe for concurrent use.
type AccessLog struct {
	cfg       AccessLogConfig
	successes atomic.Uint64
}

// NewAccessLog returns an AccessLog. No Config is invalid: the error is always nil.
func NewAccessLog(cfg AccessLogConfig) (*AccessLog, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Sample == 0 {
		cfg.Sample = 1
	}
	if cfg.Slow == 0 {
		cfg.Slow = 10 * time.Second
	}
	if cfg.Subject == nil {
		cfg.Subject = func(by Caller) string { return by.Subject }
	}
	cfg.IDHeader = http.CanonicalHeaderKey(cmp.Or(cfg.IDHeader, defaultIDHeader))
	return &AccessLog{cfg: cfg}, nil
}

// Middleware returns the handler that writes the line. Put it first in the chain, before
// the recovery from panics.
func (l *AccessLog) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		r, isFirst := begin(c, l)
		if !isFirst {
			return
		}
		id := requestID(c.Request, l.cfg.OwnIDs)
		r.mu.Lock()
		r.entry.id = id
		if l.cfg.Path {
			r.entry.path = plain.Clean(c.Request.URL.Path, plain.Text)
		}
		r.mu.Unlock()
		r.writer.wrap(c, id, l.cfg.IDHeader, strings.HasSuffix(c.Request.URL.Path, "/messages"))
		returned := false
		defer func() { l.end(c, r, returned) }()
		c.Next()
		returned = true
	}
}

func (l *AccessLog) end(c *gin.Context, r *record, returned bool) {
	r.mu.Lock()
	e := &r.entry
	e.upstreamID = r.writer.upstream
	if first := r.writer.first; e.firstByte == 0 && !first.IsZero() {
		e.firstByte = first.Sub(e.start)
	}
	r.mu.Unlock()
	done := r.close(c, returned)
	sample, wanted := l.wanted(&done)
	ctx := ginctx.Detach(c.Request.Context())
	if level := level(&done); wanted && l.cfg.Logger.Enabled(ctx, level) {
		safely(func() { l.write(ctx, c, &done, level, sample) })
	}
}

// wanted reports whether a line is written, and how many requests it represents.
func (l *AccessLog) wanted(e *entry) (sample int, wanted bool) {
	if e.outcome != outcomeSuccess || e.status >= 400 || l.cfg.Slow > 0 && e.duration >= l.cfg.Slow || l.cfg.Sample == 1 {
		return 1, true
	}
	if l.cfg.Sample < 0 {
		return 0, false
	}
	return l.cfg.Sample, l.successes.Add(1)%uint64(l.cfg.Sample) == 1
}

func level(e *entry) slog.Level {
	switch e.outcome {
	case outcomeFailure:
		return slog.LevelError
	case outcomeRefused:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func (l *AccessLog) write(ctx context.Context, c *gin.Context, e *entry, level slog.Level, sample int) {
	attrs := linesPool.Get().(*line) //nolint:forcetypeassert // it has no others
	defer attrs.release()
	attrs.request(e, l.cfg.Subject)
	attrs.exchange(e)
	attrs.times(e)
	if sample > 1 {
		attrs.number("gateway.sample", int64(sample))
	}
	if l.cfg.Attrs != nil {
		*attrs = append(*attrs, l.cfg.Attrs(c)...)
	}
	l.cfg.Logger.LogAttrs(ctx, level, "request", *attrs...)
}

// safely calls f. A panic of telemetry must not fail a request.
func safely(f func()) {
	defer func() { _ = recover() }()
	f()
}
