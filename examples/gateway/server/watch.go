package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle lets a writer finish before the files are read.
	settle = 50 * time.Millisecond
	// poll finds what no notification told of, as on network file systems.
	poll = 10 * time.Second
)

// watch reloads the configuration when its file or a certificate changes.
// It watches folders, not files: editors and Kubernetes replace files, and a
// watch on a replaced file is deaf.
func (g *gateway) watch(ctx context.Context) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		g.log.Warn("no file notifications; looking every 10 s", "error", err)
		watcher = &fsnotify.Watcher{} // its channels are nil: nothing ever comes
	} else {
		defer func() { _ = watcher.Close() }()
	}
	seen := g.fingerprint()
	seen.config = g.status().Revision // a change since it was loaded is a change
	timer := time.NewTimer(poll)
	defer timer.Stop()
	for {
		if g.follow(watcher) {
			timer.Reset(settle) // what changed before the watch began
		}
		select {
		case <-ctx.Done():
			return
		case <-watcher.Events:
			timer.Reset(settle)
		case err := <-watcher.Errors:
			g.log.Warn("file notification", "error", err)
		case <-timer.C:
			g.reload(ctx, &seen)
			timer.Reset(poll)
		}
	}
}

// follow watches the folders of the files that matter now, and reports
// whether there is a new one.
func (g *gateway) follow(watcher *fsnotify.Watcher) (added bool) {
	if watcher.Events == nil {
		return false
	}
	watched := watcher.WatchList()
	for _, file := range g.files() {
		dir := filepath.Dir(file)
		if slices.Contains(watched, dir) {
			continue
		}
		if err := watcher.Add(dir); err != nil {
			g.log.Warn("watch", "folder", dir, "error", err)
			continue
		}
		watched, added = append(watched, dir), true
	}
	return added
}

// files are those whose change means a reload.
func (g *gateway) files() []string {
	var files []string
	if g.path != "" {
		files = append(files, g.path)
	}
	if t := g.current.Load().cfg.Public.TLS; t != nil {
		files = append(files, t.files()...)
	}
	return files
}

// reload applies what changed in the files since it was last looked at. A
// configuration from the admin API holds until the file changes.
func (g *gateway) reload(ctx context.Context, seen *fingerprint) {
	now := g.fingerprint()
	if now.config != seen.config {
		if err := g.load(ctx); err != nil {
			g.log.Error("configuration refused; the one before stays", "error", err)
		}
	}
	if now.cert != seen.cert {
		g.renewCertificate()
	}
	*seen = now
}

// fingerprint tells whether files changed.
type fingerprint struct{ config, cert string }

func (g *gateway) fingerprint() fingerprint {
	var f fingerprint
	if g.path != "" {
		f.config = sum(g.path)
	}
	if t := g.current.Load().cfg.Public.TLS; t != nil {
		for _, file := range t.files() {
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
	return revisionOf(text)
}

// files are those that may be replaced while the gateway runs.
func (t *TLS) files() []string {
	if t.ClientCA == "" {
		return []string{t.Cert, t.Key}
	}
	return []string{t.Cert, t.Key, t.ClientCA}
}

// renewCertificate reads the certificate and the clients' authorities again; bad ones
// are refused together.
func (g *gateway) renewCertificate() {
	files := g.current.Load().cfg.Public.TLS
	if files == nil {
		return
	}
	k := new(checker)
	cert, clientCAs := k.certificate(files), k.clientCAs(files)
	if len(k.faults) > 0 {
		g.log.Error("certificate refused; the one before stays", "error", k.faults[0].reason)
		return
	}
	g.cert.Store(cert)
	g.clientCAs.Store(clientCAs)
	g.log.Info("certificate renewed")
}
