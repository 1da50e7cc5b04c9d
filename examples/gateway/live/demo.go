package live

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/ginfer/ginfer/examples/demomodel"
	"github.com/ginfer/ginfer/examples/gateway/config"
)

// demo is the built-in language model: two checkpoints, each behind a server of
// its own on a loopback port, so that the gateway treats them as any other.
type demo struct {
	servers   []*http.Server
	upstreams map[string]config.Upstream
}

// start starts both servers, once.
func (d *demo) start() (map[string]config.Upstream, error) {
	if d.upstreams != nil {
		return d.upstreams, nil
	}
	upstreams := make(map[string]config.Upstream)
	for i, version := range config.DemoVersions() {
		model, err := demomodel.New(demomodel.Config{Version: fmt.Sprintf("v%d", i+1), Name: "demo"})
		if err != nil {
			return nil, err
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at start there is nothing to cancel it
		if err != nil {
			return nil, fmt.Errorf("demo model: %w", err)
		}
		server := &http.Server{Handler: model, ReadHeaderTimeout: 10 * time.Second}
		go func() { _ = server.Serve(ln) }() // ends with Shutdown
		d.servers = append(d.servers, server)
		upstreams[version] = config.Upstream{Endpoints: []config.Endpoint{{URL: "http://" + ln.Addr().String()}}, Health: &config.Health{Path: "/health"}}
	}
	d.upstreams = upstreams
	return upstreams, nil
}

func (d *demo) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, s := range d.servers {
		_ = s.Shutdown(ctx)
	}
}
