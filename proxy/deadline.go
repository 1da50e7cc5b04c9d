package proxy

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
)

const (
	timeoutHeader = "X-Request-Timeout"
	grpcTimeout   = "Grpc-Timeout"
)

// ErrDeadline is returned when the client's own deadline has passed or is too close for a
// response, or when the client read too slowly to receive all of it in time. It counts as
// neither success nor failure: otherwise clients could eject every endpoint by short deadlines.
// The response is 504.
var ErrDeadline = exchange.ErrDeadline

func deadlineError() error {
	return refusal(http.StatusGatewayTimeout, "deadline_exceeded", "The time that the request allows has passed.", fmt.Errorf("%w passed", ErrDeadline))
}

// timeoutForms are the headers by which clients set a timeout.
var timeoutForms = [...]struct { //nolint:gochecknoglobals // a constant
	name, form string
	parse      func(string) (time.Duration, bool)
}{
	{timeoutHeader, "a number of seconds, as 1.5, or a number with a unit, as 1500ms or 2m", parseTimeout},
	{grpcTimeout, "up to eight digits and one of H, M, S, m, u, n", parseGRPC},
}

// clientTimeout returns the client's timeout for the whole response; 0: none.
func clientTimeout(h http.Header) (time.Duration, error) {
	var least time.Duration
	for i := range timeoutForms {
		f := &timeoutForms[i]
		for _, v := range h[f.name] {
			d, ok := f.parse(strings.TrimSpace(v))
			if !ok {
				return 0, refusal(http.StatusBadRequest, "invalid_timeout", f.name+" can't be read: it is "+f.form+".", fmt.Errorf("%w: %s %q", ErrBody, f.name, v))
			}
			if least == 0 || d < least {
				least = d
			}
		}
	}
	return least, nil
}

// parseTimeout parses seconds, or a number with a unit.
func parseTimeout(v string) (time.Duration, bool) {
	if seconds, err := strconv.ParseFloat(v, 64); err == nil {
		d := seconds * float64(time.Second)
		return clampTimeout(d), d >= 1 // false for NaN
	}
	d, err := time.ParseDuration(v)
	return clampTimeout(float64(d)), err == nil && d > 0
}

// parseGRPC parses the format of gRPC over HTTP/2.
func parseGRPC(v string) (time.Duration, bool) {
	if len(v) < 2 || len(v) > 9 {
		return 0, false
	}
	unit, ok := map[byte]time.Duration{
		'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
	}[v[len(v)-1]]
	n, err := strconv.ParseUint(v[:len(v)-1], 10, 32)
	if !ok || err != nil || n == 0 {
		return 0, false
	}
	return clampTimeout(float64(n) * float64(unit)), true
}

// clampTimeout keeps a timeout far below the largest Duration.
func clampTimeout(d float64) time.Duration {
	return time.Duration(math.Min(d, float64(365*24*time.Hour)))
}

// deadline is the time at which an exchange must have ended.
type deadline struct {
	at      time.Time // zero: no limit
	timed   bool      // the client set a timeout
	hurried bool      // at is the client's
	ample   bool      // and no shorter than the gateway's own
}

// set computes the deadline of a request that began at start.
func (d *deadline) set(r *http.Request, start time.Time, t *limits) error {
	limit := t.Total
	own, err := clientTimeout(r.Header)
	if err != nil {
		return err
	}
	if own > 0 {
		d.timed = true
		if limit <= 0 || own < limit {
			limit, d.hurried = own, true
			d.ample = t.FirstByte > 0 && own >= t.FirstByte
		}
	}
	if limit > 0 {
		d.at = start.Add(limit)
	}
	return nil
}

func (d *deadline) passed(now time.Time) bool { return !d.at.IsZero() && !now.Before(d.at) }

// hasTime reports whether an attempt that starts now is likely to respond before the deadline:
// half of its class take no longer.
func (x *call) hasTime(now time.Time) bool {
	d := &x.deadline
	if d.at.IsZero() || !d.timed {
		return !d.passed(now)
	}
	left := d.at.Sub(now)
	if left <= 0 {
		return false
	}
	half, known := x.pace().quantile(now, 0.5)
	return !known || left >= half
}

// setTimeoutHeaders sends the remaining time upstream, in the headers that the client used.
func (d *deadline) setTimeoutHeaders(out *http.Request, now time.Time) {
	left := max(d.at.Sub(now), time.Millisecond)
	out.Header = out.Header.Clone()
	if out.Header.Get(timeoutHeader) != "" {
		out.Header.Set(timeoutHeader, strconv.FormatFloat(left.Seconds(), 'f', 3, 64))
	}
	if out.Header.Get(grpcTimeout) != "" {
		ms := min(left.Milliseconds(), 99_999_999)
		out.Header.Set(grpcTimeout, strconv.FormatInt(ms, 10)+"m")
	}
}
