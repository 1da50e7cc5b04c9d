// Command gateway is a complete AI inference gateway made of the ginfer
// packages, to run as it is and to copy as a starter. Without arguments it
// serves a small language model of its own in two versions; with -config it
// serves your upstreams. See README.md beside it; chain/chain.go is what a request passes.
package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/gin-gonic/gin"
)

func main() {
	gin.SetMode(gin.ReleaseMode)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, signals))
}
