package cache

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
)

// Entry is a stored response, and the times and validators that decide about its use. It
// must not be changed once a store has it.
type Entry struct {
	// Status is the HTTP status. 0: the entry is no response, but a note that the responses
	// vary by the headers in Vary.
	Status int
	// Header is the header, without what concerns one connection or one request.
	Header http.Header
	// Body is the body as the upstream sent it.
	Body []byte

	// RequestTime is when the request was sent to the upstream.
	RequestTime time.Time
	// ResponseTime is when the age of the response was 0: when the origin generated it.
	ResponseTime time.Time
	// FreshUntil is when the response becomes stale.
	FreshUntil time.Time
	// ExpiresAt is when the entry is of no further use, even stale.
	ExpiresAt time.Time
	// FetchDuration is how long the upstream took.
	FetchDuration time.Duration

	// StaleWhileRevalidate is how long after FreshUntil the response may be used during a
	// refresh, StaleIfError instead of an error (RFC 5861).
	StaleWhileRevalidate, StaleIfError time.Duration
	// Validate requires a revalidation before every use, MustRevalidate once the response
	// is stale.
	Validate, MustRevalidate bool

	// Vary are the request headers that the responses vary by, in canonical form and sorted.
	Vary []string
	// Mark distinguishes the entry from another with the same key: the variants of a note,
	// or the request of an Idempotency-Key.
	Mark string
}

// newEntry returns an entry of a whole response. The caller sets its times.
func newEntry(r *request, res *response, now time.Time) *Entry {
	e := &Entry{
		Status: res.Status, Header: res.Header.Clone(), Body: res.body,
		RequestTime: r.start, ResponseTime: now, FetchDuration: now.Sub(r.start),
	}
	e.Header.Del("Content-Length")
	return e
}

// compact returns a body without much unused capacity.
func compact(body []byte) []byte {
	if cap(body)-len(body) > len(body)/8 {
		return append(make([]byte, 0, len(body)), body...)
	}
	return slices.Clip(body)
}

// reply returns the response as it was stored.
func (e *Entry) reply(now time.Time) reply {
	return reply{status: e.Status, header: e.Header, body: e.Body, age: max(now.Sub(e.ResponseTime), 0)}
}

// isNote reports whether the entry is no response but leads to variants.
func (e *Entry) isNote() bool { return e.Status == 0 }

func isStream(h http.Header) bool { return llm.IsEventStream(h.Get("Content-Type")) }

// stream reports whether the body consists of server-sent events.
func (e *Entry) stream() bool { return isStream(e.Header) }

// entryOverhead is the approximate memory use of an entry besides its bytes.
const entryOverhead = 512

// size returns the approximate memory use.
func (e *Entry) size() int64 {
	n := len(e.Body) + len(e.Mark) + entryOverhead
	for name, values := range e.Header {
		n += len(name) + 48
		for _, v := range values {
			n += len(v) + 16
		}
	}
	for _, v := range e.Vary {
		n += len(v) + 16
	}
	return int64(n)
}

// until returns the entry with an earlier expiry.
func (e *Entry) until(expiry time.Time) *Entry {
	if !expiry.Before(e.ExpiresAt) {
		return e
	}
	short := *e
	short.ExpiresAt = expiry
	return &short
}

// codecVersion is the first byte of an encoded entry. Other versions are not decoded.
const codecVersion = 1

// ErrEncoding is returned for bytes that are no encoded entry, or one of another version.
var ErrEncoding = errors.New("cache: not an encoded entry")

const (
	flagValidate = 1 << iota
	flagMustRevalidate
)

// AppendBinary implements encoding.BinaryAppender, for stores that keep bytes. Times are
// relative to ExpiresAt: a store must know when an entry expires and pass that to
// [Entry.Decode], so that the clocks of several machines need not agree.
func (e *Entry) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, codecVersion)
	b = binary.AppendUvarint(b, uint64(max(e.Status, 0)))
	flags := byte(0)
	if e.Validate {
		flags |= flagValidate
	}
	if e.MustRevalidate {
		flags |= flagMustRevalidate
	}
	b = append(b, flags)
	for _, d := range []time.Duration{
		e.ExpiresAt.Sub(e.RequestTime), e.ExpiresAt.Sub(e.ResponseTime), e.ExpiresAt.Sub(e.FreshUntil), e.FetchDuration, e.StaleWhileRevalidate, e.StaleIfError,
	} {
		b = binary.AppendVarint(b, int64(d/time.Millisecond))
	}
	b = appendText(b, e.Mark)
	b = appendTexts(b, e.Vary)
	b = binary.AppendUvarint(b, uint64(len(e.Header)))
	for _, name := range slices.Sorted(maps.Keys(e.Header)) {
		b = appendTexts(appendText(b, name), e.Header[name])
	}
	b = binary.AppendUvarint(b, uint64(len(e.Body)))
	return append(b, e.Body...), nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTexts(b []byte, all []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(all)))
	for _, s := range all {
		b = appendText(b, s)
	}
	return b
}

// Decode decodes what AppendBinary encoded, of an entry that expires at keep. The entry
// may share memory with b.
func (e *Entry) Decode(b []byte, keep time.Time) error {
	if len(b) == 0 || b[0] != codecVersion {
		return ErrEncoding
	}
	r := decoder{b: b[1:]}
	out := Entry{Status: r.number(), ExpiresAt: keep}
	flags := r.byte()
	out.Validate, out.MustRevalidate = flags&flagValidate != 0, flags&flagMustRevalidate != 0
	for _, t := range []*time.Time{&out.RequestTime, &out.ResponseTime, &out.FreshUntil} {
		*t = keep.Add(-r.duration())
	}
	for _, d := range []*time.Duration{&out.FetchDuration, &out.StaleWhileRevalidate, &out.StaleIfError} {
		*d = r.duration()
	}
	out.Mark = r.text()
	out.Vary = r.texts()
	if n := r.count(); n > 0 {
		out.Header = make(http.Header, n)
		for range n {
			name := r.text()
			out.Header[name] = r.texts()
		}
	}
	out.Body = r.bytes()
	if r.failed || len(r.b) > 0 {
		return ErrEncoding
	}
	*e = out
	return nil
}

// decoder decodes one part after another. After a fault it returns zero values.
type decoder struct {
	b      []byte
	failed bool
}

func (r *decoder) fail() {
	r.failed, r.b = true, nil
}

func (r *decoder) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *decoder) number() int { return int(min(r.uvarint(), math.MaxInt32)) }

// count decodes the length of a list of elements with at least one byte each.
func (r *decoder) count() int {
	n := r.number()
	if n > len(r.b) {
		r.fail()
		return 0
	}
	return n
}

// maxDuration bounds durations: nothing is kept for longer, or took so long.
const maxDuration = 10 * 365 * 24 * time.Hour

func (r *decoder) duration() time.Duration {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	const most = int64(maxDuration / time.Millisecond)
	return time.Duration(min(max(v, -most), most)) * time.Millisecond
}

func (r *decoder) bytes() []byte {
	n := r.count()
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *decoder) text() string { return string(r.bytes()) }

func (r *decoder) texts() (all []string) {
	n := r.count()
	if n == 0 {
		return nil
	}
	all = make([]string, 0, n)
	for range n {
		all = append(all, r.text())
	}
	return all
}
