package server

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/examples/gateway/live"
)

const (
	// settle lets a writer finish before the files are read.
	settle = 50 * time.Millisecond
	// poll finds changes without a notification, as on network file systems.
	poll = 10 * time.Second
)

// Watch reloads the configuration when its file or a certificate changes, until ctx ends.
// It watches directories, not files: editors and Kubernetes replace files, and a
// watch on a replaced file gets no events.
func Watch(ctx context.Context, g *live.Gateway) {
	w := &watch{g: g}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		g.Log().Warn("no file notifications; polling every 10 s", "error", err)
		watcher = &fsnotify.Watcher{} // its channels are nil: nothing ever comes
	} else {
		defer func() { _ = watcher.Close() }()
	}
	w.seen = w.fingerprint()
	w.seen.config = g.Status().Revision // a change since it was loaded is a change
	timer := time.NewTimer(poll)
	defer timer.Stop()
	for {
		if w.follow(watcher) {
			timer.Reset(settle) // what changed before the watch began
		}
		select {
		case <-ctx.Done():
			return
		case <-watcher.Events:
			timer.Reset(settle)
		case err := <-watcher.Errors:
			g.Log().Warn("file notification", "error", err)
		case <-timer.C:
			w.reload(ctx)
			timer.Reset(poll)
		}
	}
}

// watch finds changes of files.
type watch struct {
	g    *live.Gateway
	seen fingerprint
}

// follow watches the directories of the current files, and reports
// whether there is a new one.
func (w *watch) follow(watcher *fsnotify.Watcher) (added bool) {
	if watcher.Events == nil {
		return false
	}
	watched := watcher.WatchList()
	for _, file := range w.files() {
		dir := filepath.Dir(file)
		if slices.Contains(watched, dir) {
			continue
		}
		if err := watcher.Add(dir); err != nil {
			w.g.Log().Warn("watch", "directory", dir, "error", err)
			continue
		}
		watched, added = append(watched, dir), true
	}
	return added
}

// files are those that cause a reload on change.
func (w *watch) files() []string {
	var files []string
	if file := w.g.File(); file != "" {
		files = append(files, file)
	}
	if t := w.g.Current().Config.Public.TLS; t != nil {
		files = append(files, t.Files()...)
	}
	return files
}

// reload applies what changed in the files since they were last read. A
// configuration from the admin API is in force until the file changes.
func (w *watch) reload(ctx context.Context) {
	now := w.fingerprint()
	if now.config != w.seen.config {
		if err := w.g.Load(ctx); err != nil {
			w.g.Log().Error("configuration refused; the one before stays", "error", err)
		}
	}
	if now.cert != w.seen.cert {
		w.g.RenewCertificate()
	}
	w.seen = now
}

// fingerprint identifies the content of the files.
type fingerprint struct{ config, cert string }

func (w *watch) fingerprint() fingerprint {
	var f fingerprint
	if file := w.g.File(); file != "" {
		f.config = sum(file)
	}
	if t := w.g.Current().Config.Public.TLS; t != nil {
		for _, file := range t.Files() {
			f.cert += sum(file)
		}
	}
	return f
}

func sum(file string) string {
	text, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return err.Error()
	}
	return config.Revision(text)
}
