// Package sizes finds limits of different sizes with the same name over one store: they would
// share one bucket and resize it in turns.
package sizes

import (
	"errors"
	"fmt"
	"sync"
)

// ErrTaken is returned when a name has another size.
var ErrTaken = errors.New("the store has a limit of this name and another size")

// Registry is the sizes of the limits of one store, by name. The zero value is empty. It is safe
// for concurrent use.
type Registry struct {
	mu    sync.Mutex
	known map[string]any
}

// Register records the size of a name, which must be comparable. Another size than the one known
// replaces that if resize is set, and is an error otherwise.
func (r *Registry) Register(name string, size any, resize bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.known[name]; ok && old != size && !resize {
		return fmt.Errorf("%q: %w", name, ErrTaken)
	}
	if r.known == nil {
		r.known = map[string]any{}
	}
	r.known[name] = size
	return nil
}
