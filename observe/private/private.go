// Package private is what a gateway's private port serves to operators: metrics,
// recent requests, profiles, health. Nothing here asks who is there: keep the port
// away from clients.
//
//	mux := private.Handler(private.Config{Metrics: telemetry.Handler(), Requests: recent.Handler(), Ready: ready})
//	server := &http.Server{Addr: "127.0.0.1:9090", Handler: mux, ReadHeaderTimeout: 10 * time.Second}
//
// It is a package of its own because net/http/pprof puts its handlers into
// http.DefaultServeMux of whoever imports it: do not serve that to clients.
//
// What happens on failure: /readyz answers 503 with the text of the error; everything
// else stands on its own.
package private

import (
	"context"
	"net/http"
	"net/http/pprof"
	"time"
)

// Config says what there is besides profiles and health.
type Config struct {
	// Metrics is served at /metrics. Optional.
	Metrics http.Handler
	// Requests is served at /debug/requests. Optional.
	Requests http.Handler
	// Ready reports why the gateway can't take requests: it starts or ends. Its text
	// is shown. Default: it can.
	Ready func(context.Context) error
	// ReadyTimeout bounds Ready. Default 2 s; negative: off.
	ReadyTimeout time.Duration
}

// Handler returns the handler of the port: /metrics, /debug/requests, /debug/pprof/,
// /livez, which is good as long as the process answers, and /readyz.
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

// Pprof returns the handler of /debug/pprof/.
func Pprof() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index) // and the profiles by name
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
