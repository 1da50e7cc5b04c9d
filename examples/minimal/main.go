// Command minimal is a gateway in one file, to copy and change: JWT authentication, a limit
// per user, and two versions of a model, each a balanced pool of servers with circuit breakers.
//
//	JWT_SECRET=$(openssl rand -hex 32) go run ./examples/minimal -v1 http://10.0.0.1:8000,http://10.0.0.2:8000 -v2 http://10.0.0.3:8000
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/stream"
)

// table sends beta users and a tenth of the others to v2. "upstream_model" renames a model.
const table = `{"routes": [
	{"model": "chat", "version": "v2", "conditions": {"headers": {"X-Beta": "true"}}, "fallback": ["v1"]},
	{"model": "chat", "version": "v1", "weight": 90, "fallback": ["v2"]},
	{"model": "chat", "version": "v2", "weight": 10, "fallback": ["v1"]}
]}`

type config struct{ issuer, audience, secret, v1, v2, upstreamKey string }

func main() {
	cfg := config{secret: os.Getenv("JWT_SECRET"), upstreamKey: os.Getenv("UPSTREAM_KEY")}
	address := flag.String("address", "127.0.0.1:8080", "address to listen on")
	flag.StringVar(&cfg.issuer, "issuer", "login", `"iss" of the tokens, which JWT_SECRET signs with HS256`)
	flag.StringVar(&cfg.audience, "audience", "inference", `"aud" of the tokens`)
	flag.StringVar(&cfg.v1, "v1", "http://127.0.0.1:8000", "servers of version v1, separated by commas")
	flag.StringVar(&cfg.v2, "v2", "http://127.0.0.1:8001", "servers of version v2, separated by commas")
	flag.Parse()
	gin.SetMode(gin.ReleaseMode)
	g, err := newGateway(cfg)
	exitOn(err)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", *address)
	exitOn(err)
	exitOn(g.serve(ctx, ln))
}

func exitOn(err error) {
	if err != nil {
		slog.Error("gateway failed", "error", err)
		os.Exit(1)
	}
}

type gateway struct {
	engine  *gin.Engine
	streams *stream.Streams
	pools   []*balance.Pool
}

// newGateway builds the chain: handlers in front of the proxy, transports behind it.
func newGateway(cfg config) (*gateway, error) {
	keys, err := auth.NewSecrets([]byte(cfg.secret)) // or auth.NewKeySet, for an OpenID provider
	if err != nil {
		return nil, fmt.Errorf("JWT_SECRET: %w", err)
	}
	jwt, err := auth.NewJWT(auth.JWTConfig{Keys: keys, Algorithms: []string{"HS256"}, Issuer: cfg.issuer, Audience: cfg.audience})
	if err != nil {
		return nil, err
	}
	g := &gateway{engine: gin.New()}
	router, err := g.newRouter(cfg)
	if err != nil {
		return nil, err
	}
	relay, err := proxy.New(proxy.Config{
		Transport: router.Transport(),
		Retry:     proxy.Retry{Repeat: proxy.Always}, // a repeated completion costs tokens only
		Rewrite: func(_ *gin.Context, out *http.Request) {
			out.Header.Set("Authorization", "Bearer "+cfg.upstreamKey) // in place of the caller's token
		},
	})
	if err != nil {
		return nil, err
	}
	g.streams, err = stream.New(stream.Config{}) // heartbeats, write deadlines, drain
	limits := ratelimit.Config{Key: auth.Subject, Rate: ratelimit.Per(60, time.Minute), Burst: 10}
	g.engine.Use(apierror.Recovery(nil), auth.Middleware(auth.Config{Verifiers: []auth.Verifier{jwt}}), router.Middleware())
	g.engine.POST("/v1/chat/completions", ratelimit.Middleware(limits), g.streams.Middleware(), relay.Handler())
	return g, err
}

// newRouter puts a pool of servers behind each version of the table.
func (g *gateway) newRouter(cfg config) (*routing.Router, error) {
	routes, err := routing.ParseTable([]byte(table))
	if err != nil {
		return nil, err
	}
	transport, err := proxy.NewTransport(proxy.TransportConfig{})
	if err != nil {
		return nil, err
	}
	breakers, err := breaker.New(breaker.Config{})
	if err != nil {
		return nil, err
	}
	upstreams := map[string]http.RoundTripper{}
	for version, servers := range map[string]string{"v1": cfg.v1, "v2": cfg.v2} {
		var endpoints []balance.Endpoint
		for server := range strings.SplitSeq(servers, ",") {
			endpoints = append(endpoints, balance.Endpoint{URL: server})
		}
		pool, err := balance.New(balance.Config{Endpoints: endpoints, Transport: breakers.Transport(transport)})
		if err != nil {
			return nil, fmt.Errorf("-%s: %w", version, err)
		}
		upstreams[version] = pool
		g.pools = append(g.pools, pool)
	}
	return routing.New(routing.Config{Table: routes, Upstreams: upstreams, Subject: auth.SubjectOf})
}

// serve runs the gateway until ctx is done. Streams still open 30 s later get an error event.
func (g *gateway) serve(ctx context.Context, ln net.Listener) error {
	for _, pool := range g.pools {
		go func() { _ = pool.Run(ctx) }() // GET /health every 5 s
	}
	server := &http.Server{Handler: g.engine, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(grace), g.streams.Drain(grace), server.Close())
}
