// Package private is the handler of a gateway's private port for operators: metrics, recent
// requests, profiles, health. It does not authenticate: keep the port away from clients.
//
//	mux := private.Handler(private.Config{Metrics: telemetry.Handler(), Requests: recent.Handler(), Ready: ready})
//	server := &http.Server{Addr: "127.0.0.1:9090", Handler: mux, ReadHeaderTimeout: 10 * time.Second}
//
// It is a separate package because importing net/http/pprof registers its handlers in
// http.DefaultServeMux: do not serve that to clients.
//
// What happens on failure: /readyz responds with 503 and the text of the error; the other
// paths are independent of it.
package private

import (
	"context"
	"net/http"
	"net/http/pprof"
	"time"
)

// Config configures [Handler], which always serves profiles and health.
type Config struct {
	// Metrics is the handler of /metrics. Default: none.
	Metrics http.Handler
	// Requests is the handler of /debug/requests. Default: none.
	Requests http.Handler
	// Ready returns an error while the gateway can't take requests, at its start or end.
	// The response shows its text. Default: always ready.
	Ready func(context.Context) error
	// ReadyTimeout bounds Ready. Default: 2 s; negative: off.
	ReadyTimeout time.Duration
}

// Handler returns the handler of the port: /metrics, /debug/requests, /debug/pprof/,
// /livez, which succeeds while the process responds, and /readyz.
func Handler(cfg Config) http.Handler {
	mux := http.NewServeMux()
	if cfg.Metrics != nil {
		mux.Handle("GET /metrics", cfg.Metrics)
	}
	if cfg.Requests != nil {
		mux.Handle("GET /debug/requests", cfg.Requests)
	}
	mux.Handle("/debug/pprof/", Pprof())
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", cfg.readyz)
	return mux
}

// Pprof returns the handler of /debug/pprof/. Use it without [Handler] on a mux of your
// own.
func Pprof() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index) // also the profiles by name
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

func (cfg Config) readyz(w http.ResponseWriter, r *http.Request) {
	if cfg.Ready == nil {
		_, _ = w.Write([]byte("ok\n"))
		return
	}
	ctx := r.Context()
	if cfg.ReadyTimeout >= 0 {
		limit := cfg.ReadyTimeout
		if limit == 0 {
			limit = 2 * time.Second
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	if err := cfg.Ready(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}
