package reach

import (
	"net/http"
	"reflect"
	"sync"
)

// maxDepth bounds the number of writers that wrap each other.
const maxDepth = 64

// find returns the outermost writer of the connection that is a T.
func find[T any](c Conn) (found T, ok bool) {
	w := c.w
	for range maxDepth {
		if found, ok = w.(T); ok {
			return found, true
		}
		next := inner(w)
		if next == nil {
			next = c.kept(w)
		}
		if next == nil {
			break
		}
		w = next
	}
	return found, false
}

// last returns the innermost writer behind w.
func last(w http.ResponseWriter) http.ResponseWriter {
	for range maxDepth {
		next := inner(w)
		if next == nil {
			break
		}
		w = next
	}
	return w
}

// inner returns the writer that w wraps, or nil.
func inner(w http.ResponseWriter) http.ResponseWriter {
	if outer, ok := w.(unwrapper); ok {
		return outer.Unwrap()
	}
	if !wraps(reflect.TypeOf(w)) {
		return nil
	}
	found, _ := field[http.ResponseWriter](reflect.ValueOf(w))
	return found
}

type unwrapper interface{ Unwrap() http.ResponseWriter }

// isTransparent reports whether all writers from w on have an Unwrap method.
func isTransparent(w http.ResponseWriter) bool {
	end := w
	for range maxDepth {
		outer, ok := end.(unwrapper)
		if !ok {
			break
		}
		end = outer.Unwrap()
	}
	return end == last(w)
}

//nolint:gochecknoglobals // a constant
var writerType = reflect.TypeFor[http.ResponseWriter]()

// wrapping has, by the type of a writer, whether it can wrap another one.
//
//nolint:gochecknoglobals // types do not change
var wrapping sync.Map

// wraps reports whether a writer of type t has a field that can hold a writer. Those of servers have
// none, and to look at their fields costs more than all else here.
func wraps(t reflect.Type) bool {
	if known, ok := wrapping.Load(t); ok {
		return known.(bool) //nolint:forcetypeassert // it has no others
	}
	can := canHold(t, maxDepth)
	wrapping.Store(t, can)
	return can
}

// canHold reports whether a value of type t can hold a writer in a field, at any depth.
func canHold(t reflect.Type, depth int) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return t.Kind() == reflect.Interface
	}
	for f := range t.Fields() {
		if f.Type.Implements(writerType) || f.Anonymous && depth > 0 && canHold(f.Type, depth-1) {
			return true
		}
	}
	return false
}

// field returns the T in an exported field of a struct, such as an embedded one.
func field[T any](v reflect.Value) (found T, ok bool) {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return found, false
	}
	for f, at := range v.Fields() {
		if f.Type.Implements(reflect.TypeFor[T]()) && at.CanInterface() {
			found, ok = reflect.TypeAssert[T](at)
		}
		if !ok && f.Anonymous && at.Kind() == reflect.Struct {
			found, ok = field[T](at)
		}
		if ok {
			break
		}
	}
	return found, ok
}

// kept returns the writer in the context that is behind w, which may hold it in fields that are
// not exported. There is none behind a recorder: the context may be that of another response.
func (c Conn) kept(w http.ResponseWriter) http.ResponseWriter {
	if !wraps(reflect.TypeOf(w)) {
		return nil
	}
	for k := keptIn(c.ctx); k != nil; k = k.outer {
		if k.w != w && holds(reflect.ValueOf(w), reflect.ValueOf(k.w), maxDepth) {
			return k.w
		}
	}
	return nil
}

// holds reports whether the writer v wraps target, in any field.
func holds(v, target reflect.Value, depth int) bool {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.Kind() == reflect.Pointer && v.Type() == target.Type() && v.Pointer() == target.Pointer() {
			return true
		}
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct || depth == 0 {
		return false
	}
	for f, at := range v.Fields() {
		if (f.Type.Implements(writerType) || f.Anonymous) && holds(at, target, depth-1) {
			return true
		}
	}
	return false
}
