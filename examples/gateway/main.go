// Command gateway is a complete AI inference gateway made of the ginfer
// packages, to run as it is and to copy as a starter. Without arguments it
// serves a small language model of its own in two versions; with -config it
// fronts your servers. See README.md beside it.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/gin-gonic/gin"
	"github.com/redis/go-redis/v9"
)

// Exit codes.
const (
	exitOK     = 0 // drained, nothing was cut
	exitFailed = 1 // could not start, or streams had to be cut at the end
	exitConfig = 2 // bad arguments or configuration
)

func main() {
	gin.SetMode(gin.ReleaseMode)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, signals))
}

// serveCommand runs the gateway until a signal, or only checks its configuration.
func serveCommand(o *options, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	g := newGateway(newLogger(stderr, o.verbose), o.config)
	redis.SetLogger(redisLog{g.log}) // for the whole process, as the client has it
	defer g.close()
	if err := g.load(ctx); err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return exitConfig
	}
	if o.check {
		_, _ = fmt.Fprintln(stdout, "the configuration is good")
		return exitOK
	}
	ports, err := g.listen()
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return exitFailed
	}
	ports.serve()
	g.ready.Store(true)
	go g.watch(ctx)
	banner(stdout, ports, g)

	select {
	case <-signals:
	case err := <-ports.failed:
		g.log.Error("a port failed", "error", err)
	}
	return g.shutdown(ports, signals)
}

func newLogger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}
