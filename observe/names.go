package observe

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/ginfer/ginfer/observe/internal/plain"
)

// other is the label value of every name beyond a bound, and of invalid names.
const other = "other"

// bounded is a map of limited size that is read without a lock.
type bounded[K comparable, V any] struct {
	mu   sync.Mutex // held by writers
	kept atomic.Pointer[map[K]V]
}

// find returns the value of k.
func (b *bounded[K, V]) find(k K) (v V, ok bool) {
	if m := b.kept.Load(); m != nil {
		v, ok = (*m)[k]
	}
	return v, ok
}

// get returns the value of k, or builds it and stores it if there is room.
func (b *bounded[K, V]) get(k K, most int, build func(K) V) V {
	if v, ok := b.find(k); ok {
		return v
	}
	v := build(k)
	b.add(k, v, most)
	return v
}

// add stores v under k and reports whether there was room.
func (b *bounded[K, V]) add(k K, v V, most int) bool {
	if m := b.kept.Load(); m != nil && len(*m) >= most {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var next map[K]V
	if m := b.kept.Load(); m != nil {
		if _, known := (*m)[k]; !known && len(*m) >= most {
			return false
		}
		next = maps.Clone(*m)
	} else {
		next = make(map[K]V, 1)
	}
	next[k] = v
	b.kept.Store(&next)
	return true
}

// names bounds the values of a label. Operators choose few; the bound is for those that
// others may choose.
type names struct {
	most  int
	known bounded[string, struct{}]
}

// of returns the name if it is known or there is room for it, else [other].
func (n *names) of(name string) string {
	if name == "" || n.isKnown(name) || isName(name) && n.known.add(name, struct{}{}, n.most) {
		return name
	}
	return other
}

// ifKnown returns the name if it was admitted before, else [other].
func (n *names) ifKnown(name string) string {
	if name == "" || n.isKnown(name) {
		return name
	}
	return other
}

func (n *names) isKnown(name string) bool {
	_, ok := n.known.find(name)
	return ok
}

// isName reports whether s is a valid label value.
func isName(s string) bool { return len(s) <= plain.Word && plain.Clean(s, plain.Word) == s }
