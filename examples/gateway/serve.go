package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/ginfer/ginfer/examples/gateway/admin"
	"github.com/ginfer/ginfer/examples/gateway/chain"
	"github.com/ginfer/ginfer/examples/gateway/live"
	"github.com/ginfer/ginfer/examples/gateway/server"
	"github.com/redis/go-redis/v9"
)

// serveCommand runs the gateway until a signal, or only checks its configuration.
func serveCommand(o *options, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	logger := live.NewLog(stderr, o.level())
	redis.SetLogger(live.RedisLog{Log: logger.Logger}) // the client has one for the whole process
	g := live.New(logger, o.config, chain.Order())
	defer g.Close()
	if err := g.Load(ctx); err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return exitConfig
	}
	if o.check {
		_, _ = fmt.Fprintln(stdout, "the configuration is good")
		return exitOK
	}
	s, err := server.Listen(g, admin.New(g))
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return exitFailed
	}
	s.Serve()
	go server.Watch(ctx, g)
	banner(stdout, s, g)

	select {
	case <-signals:
	case err := <-s.Failed():
		logger.Error("a port failed", "error", err)
	}
	if !s.Shutdown(signals) {
		return exitFailed
	}
	return exitOK
}

// level is the least level of the log.
func (o *options) level() slog.Level {
	if o.verbose {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// banner prints the addresses, the token, and commands to paste.
func banner(w io.Writer, s *server.Server, g *live.Gateway) {
	public, private := s.URLs()
	token := g.Token()
	if token == "" {
		token = "$KEY" // callers have their own
	}
	_, _ = fmt.Fprintf(w, `public: %[1]s
private: %[2]s
token: %[3]s
config: %[4]s
page: %[2]s/admin/

Try:
  curl %[1]s/v1/models -H 'Authorization: Bearer %[3]s'
  curl %[1]s/v1/chat/completions -H 'Authorization: Bearer %[3]s' -H 'Content-Type: application/json' -d '{"model":"demo","messages":[{"role":"user","content":"What is a gateway?"}]}'
  curl -N %[1]s/v1/chat/completions -H 'Authorization: Bearer %[3]s' -H 'Content-Type: application/json' -H 'X-User-Id: alice' -d '{"model":"demo","stream":true,"messages":[{"role":"user","content":"What is a gateway?"}]}'
`, public, private, token, g.Current().Source.Name)
}
