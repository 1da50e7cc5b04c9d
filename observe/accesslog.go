package observe

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/observe/internal/plain"
)

// AccessLogConfig describes an AccessLog. Every field has a default.
type AccessLogConfig struct {
	// Logger takes the lines. It should not wait for a slow disk: the request does.
	// Default slog.Default().
	Logger *slog.Logger
	// Sample has one in so many lines of successes written, with gateway.sample
	// saying so. All other outcomes always are. Default 1: all; negative: none.
	Sample int
	// Slow is how long a success may take before its line is always written.
	// Default 10 s; negative: off.
	Slow time.Duration
	// Subject says how a caller is named; "" leaves the name out. A subject may be
	// personal: [Pseudonyms] hides it. Default: Identity.Subject.
	Subject func(*auth.Identity) string
	// Path also writes the path, without its query. It may be personal. Default false.
	Path bool
	// OwnIDs ignores the ids that clients send. Default false: a valid X-Request-Id
	// (1 to 128 letters, digits, and -_.:+/=) is kept.
	OwnIDs bool
	// Attrs are added to a line. They are written as they are. Optional.
	Attrs func(*gin.Context) []slog.Attr
}

// AccessLog writes one line for each request, when it has ended, and gives it its id.
// It is safe for concurrent use.
type AccessLog struct {
	cfg       AccessLogConfig
	successes atomic.Uint64
}

// NewAccessLog checks cfg and returns an AccessLog.
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
		cfg.Subject = func(id *auth.Identity) string { return id.Subject }
	}
	return &AccessLog{cfg: cfg}, nil
}

// Pseudonyms returns what names callers by a keyed hash: the same one the same, and
// nobody without the key can tell who. The key needs 32 bytes or more.
func Pseudonyms(key []byte) (func(*auth.Identity) string, error) {
	if len(key) < sha256.Size {
		return nil, errors.New("observe: Pseudonyms: the key needs 32 bytes")
	}
	return func(id *auth.Identity) string {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id.Issuer + "\x00" + id.Subject))
		return hex.EncodeToString(mac.Sum(nil)[:16])
	}, nil
}

// Middleware returns the handler that writes the line. It stands first, before
// whatever recovers from panics.
func (l *AccessLog) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		r := begin(c)
		id := requestID(c.Request, l.cfg.OwnIDs)
		r.mu.Lock()
		r.entry.id = id
		if l.cfg.Path {
			r.entry.path = plain.Clean(c.Request.URL.Path, plain.Text)
		}
		r.mu.Unlock()
		r.writer.wrap(c, id, strings.HasSuffix(c.Request.URL.Path, "/messages"))
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
	ctx := context.WithoutCancel(c.Request.Context())
	if level := level(&done); wanted && l.cfg.Logger.Enabled(ctx, level) {
		safely(func() { l.write(ctx, c, &done, level, sample) })
	}
}

// wanted reports whether a line is written, and for how many it stands.
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
	attrs := make(line, 0, 40)
	attrs.request(e, l.cfg.Subject)
	attrs.exchange(e)
	attrs.times(e)
	if sample > 1 {
		attrs.number("gateway.sample", int64(sample))
	}
	if l.cfg.Attrs != nil {
		attrs = append(attrs, l.cfg.Attrs(c)...)
	}
	l.cfg.Logger.LogAttrs(ctx, level, "request", attrs...)
}

// safely calls f. Telemetry that panics fails no request.
func safely(f func()) {
	defer func() { _ = recover() }()
	f()
}
