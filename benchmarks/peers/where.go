package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/pprof/profile"
)

// parts of the work, from the innermost function outwards: a sample belongs to the first part that
// has one of its functions.
var parts = []struct {
	name      string
	functions []string // prefixes; ours without the module's path
}{
	{"allocation and garbage collection", []string{"runtime.mallocgc", "runtime.growslice", "runtime.gc", "runtime.bgsweep", "runtime.bgscavenge", "runtime.(*mheap)"}},
	{"connection to the client: requests", []string{"net/http.(*conn).readRequest", "net/http.(*connReader)", "net/http.(*body)"}},
	{"connection to the client: responses", []string{"net/http.(*response)", "net/http.(*chunkWriter)", "net/http.checkConnErrorWriter"}},
	{"connection to the endpoint", []string{"internal/h1."}},
	{"metrics", []string{"go.opentelemetry.io/otel/sdk/metric", "go.opentelemetry.io/otel/attribute", "observe.(*Metrics)"}},
	{"access log", []string{"log/slog.", "observe.(*AccessLog)", "observe.(*LogWriter)"}},
	{"recent requests, live figures, traces", []string{"observe.", "go.opentelemetry.io/"}},
	{"reading model, limits and usage from JSON", []string{"internal/llm.", "internal/body."}},
	{"identity", []string{"auth.", "github.com/golang-jwt/"}},
	{"limits", []string{"ratelimit."}},
	{"routing", []string{"routing."}},
	{"balancing and circuit breakers", []string{"balance.", "breaker."}},
	{"streams", []string{"stream."}},
	{"proxy: headers, attempts, relay", []string{"proxy.", "internal/exchange."}},
	{"Gin, net/http, scheduler, other", []string{""}},
}

// part returns the index of the part that a sample belongs to.
func part(s *profile.Sample) int {
	for _, location := range s.Location {
		for _, line := range location.Line {
			name := strings.TrimPrefix(line.Function.Name, "github.com/ginfer/ginfer/")
			for i, p := range parts[:len(parts)-1] {
				if slices.ContainsFunc(p.functions, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
					return i
				}
			}
		}
	}
	return len(parts) - 1
}

// shares returns the share of each part in a CPU profile.
func shares(p *profile.Profile) []float64 {
	out := make([]float64, len(parts))
	var sum int64
	for _, s := range p.Sample {
		sum += s.Value[1]
	}
	for _, s := range p.Sample {
		out[part(s)] += float64(s.Value[1]) / float64(max(sum, 1))
	}
	return out
}

// cost is where the time of one kind of work goes.
type cost struct {
	title string
	micro float64 // in all, for each request or event
	parts []float64
}

// where measures where the gateway's time goes, for requests and for events.
func (b *bench) where() ([]cost, error) {
	c := b.running["gateway"]
	json, err := b.profiled(func() *sent { return full(c.setup.address, request("demo", 0, 800), b.o.where) })
	if err != nil {
		return nil, err
	}
	json.title = "a chat completion, prompt of 1 KB"
	events, err := b.profiled(func() *sent {
		return streams(c.setup.address, b.o.streams, int(b.o.where/betweenEvents))
	})
	if err != nil {
		return nil, err
	}
	events.title = fmt.Sprintf("an event of one of %d streams", b.o.streams)
	return []cost{json, events}, nil
}

// profiled runs a load and profiles the gateway in its middle.
func (b *bench) profiled(load func() *sent) (cost, error) {
	c := b.running["gateway"]
	type read struct {
		p   *profile.Profile
		err error
	}
	profiles := make(chan read, 1)
	go func() {
		time.Sleep(b.o.where / 4)
		p, err := profileOf(c.setup.admin, b.o.where/2)
		profiles <- read{p, err}
	}()
	before := c.cpu()
	got := load()
	used := c.cpu() - before
	r := <-profiles
	if got.err != nil {
		return cost{}, got.err
	}
	if r.err != nil {
		return cost{}, r.err
	}
	return cost{micro: micro(used) / float64(got.requests), parts: shares(r.p)}, nil
}

func profileOf(address string, d time.Duration) (*profile.Profile, error) {
	res, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", address, max(1, int(d.Seconds()))))
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	return profile.Parse(bytes.NewReader(text))
}

// writeWhere writes the table and the graph of costs.
func writeWhere(costs []cost, dir string) error {
	var b strings.Builder
	b.WriteString("| Part |")
	for _, c := range costs {
		fmt.Fprintf(&b, " %s: µs | |", c.title)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|---|", len(costs)) + "\n")
	for i, p := range parts {
		fmt.Fprintf(&b, "| %s |", p.name)
		for _, c := range costs {
			fmt.Fprintf(&b, " %.1f | %.0f %% |", c.micro*c.parts[i], 100*c.parts[i])
		}
		b.WriteString("\n")
	}
	b.WriteString("| in all |")
	for _, c := range costs {
		fmt.Fprintf(&b, " %.1f | |", c.micro)
	}
	b.WriteString("\n")
	fmt.Print(b.String())
	if dir == "" {
		return nil
	}
	if err := insert(filepath.Join(dir, "benchmarks.md"), "make bench-where", b.String()); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "benchmarks-where.svg"), []byte(plotWhere(costs)), 0o644)
}
