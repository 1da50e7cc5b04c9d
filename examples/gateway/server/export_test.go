package server

import (
	"context"

	"github.com/ginfer/ginfer/examples/gateway/live"
)

// Watcher is what Watch does when files change.
type Watcher struct{ w *watch }

// NewWatcher returns a Watcher that has read the files.
func NewWatcher(g *live.Gateway) *Watcher {
	w := &watch{g: g}
	w.seen = w.fingerprint()
	return &Watcher{w}
}

// Reload applies what changed in the files.
func (w *Watcher) Reload(ctx context.Context) { w.w.reload(ctx) }

// Files are those that are watched.
func (w *Watcher) Files() []string { return w.w.files() }
