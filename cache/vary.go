package cache

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"
)

// toVariant goes on to the variant that a note is about. It reports whether that is
// another key.
func (x *exchange) toVariant(note *Entry) bool {
	if len(x.vary) > 0 && x.variant == note.Mark && slices.Equal(x.vary, note.Vary) {
		return false
	}
	x.vary, x.variant = note.Vary, note.Mark
	x.key, x.status.Key = x.variantKey(note.Vary, note.Mark)
	return true
}

// variantKey is the key of the variant for this request, in the store and without
// generations.
func (x *exchange) variantKey(vary []string, mark string) (key, shown string) {
	s := x.scratches.Get().(*scratch) //nolint:forcetypeassert // the pool holds nothing else
	defer x.giveBack(s)
	s.reset()
	s.add("variant")
	s.addBytes(x.base[:])
	s.add(mark)
	for _, name := range vary {
		values := x.req.Header[name]
		if name == "Host" {
			values = []string{x.req.Host}
		}
		s.add(name)
		s.addLength(len(values))
		for _, v := range values {
			s.add(strings.TrimSpace(v))
		}
	}
	base := s.done()
	shown = encodeKey(&base)
	if key = shown; x.generations.apply(&base, &x.plan) {
		key = encodeKey(&base)
	}
	return key, shown
}

// splitByVary notes that there are several answers to this request, and which of them
// this one is. What answers vary by only ever becomes more: a client that makes the
// upstream name another header does not unmake what others have.
func (x *exchange) splitByVary(f *flight) {
	names := append(slices.Clone(x.vary), x.life.vary...)
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > maxVary {
		names = x.life.vary
	}
	if x.variant == "" || !slices.Equal(names, x.vary) {
		x.variant = rand.Text()
	}
	x.vary = names
	f.about.vary, f.about.variant = names, x.variant
	f.name, x.status.Key = x.variantKey(names, x.variant)
	x.note(x.life.entry.ExpiresAt)
	x.flights.also(f, f.name)
}

// note stores, in the place of an answer, that there are several.
func (x *exchange) note(keep time.Time) {
	primary := x.base
	key := encodeKey(&primary)
	if x.generations.apply(&primary, &x.plan) {
		key = encodeKey(&primary)
	}
	ctx := context.WithoutCancel(x.client)
	if x.near != nil {
		if old := x.near(key, time.Now()); old != nil && old.Mark == x.variant && !old.ExpiresAt.Before(keep) {
			return
		}
	}
	now := time.Now()
	e := &Entry{RequestTime: now, ResponseTime: now, FreshUntil: keep, ExpiresAt: keep, Vary: x.vary, Mark: x.variant}
	if err := x.cfg.Store.Set(ctx, key, e); err != nil {
		x.failed(ctx, err)
	}
}
