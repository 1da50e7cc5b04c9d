package cache

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"
)

// codecVersion begins every encoded entry. Entries of another version are not understood.
const codecVersion = 1

// ErrEncoding: this is no entry, or one of another version.
var ErrEncoding = errors.New("cache: not an encoded entry")

const (
	flagValidate = 1 << iota
	flagMustRevalidate
)

// AppendBinary implements encoding.BinaryAppender, for stores that keep bytes. Times are
// relative to Keep: a store must know for how long it keeps an entry, and give that to
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

// Decode reads what AppendBinary wrote, of an entry that is kept until a time. The entry
// may share memory with the bytes.
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

// decoder reads one part after another. After a fault it reads nothing.
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

// count is the length of a list: each element takes a byte at least.
func (r *decoder) count() int {
	n := r.number()
	if n > len(r.b) {
		r.fail()
		return 0
	}
	return n
}

// maxDuration bounds what is read: nothing is kept for longer, or took so long.
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
