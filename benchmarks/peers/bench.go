package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const connections = 64

// bench is the model server and the rivals that run.
type bench struct {
	o       options
	model   *process
	direct  string // the model server's address
	rivals  []rival
	running map[string]*contestant
	dir     string
}

// contestant is a rival that runs.
type contestant struct {
	*process

	setup setup
}

func newBench(dir string, o options) (*bench, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	binary := filepath.Join(dir, "gateway")
	if err := build(binary); err != nil {
		return nil, err
	}
	one, err := freeAddress()
	if err != nil {
		return nil, err
	}
	two, err := freeAddress()
	if err != nil {
		return nil, err
	}
	model, err := start(dir, "upstream", loadCPU, two, self, "upstream", one, two)
	if err != nil {
		return nil, err
	}
	if o.before != "" {
		if o.before, err = filepath.Abs(o.before); err != nil {
			return nil, err
		}
	}
	b := &bench{o: o, model: model, direct: one, dir: dir, running: map[string]*contestant{}, rivals: installed(rivals(o.before), o.only)}
	pinSelf()
	for _, r := range b.rivals {
		s := setup{dir: dir, self: self, gateway: binary, endpoints: []string{one, two}}
		if err := b.start(r, s); err != nil {
			b.stop()
			return nil, err
		}
	}
	time.Sleep(2 * o.load) // until all have started
	return b, nil
}

// build builds the gateway in its own module, as its users do.
func build(binary string) error {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/ginfer/ginfer").Output()
	if err != nil {
		return fmt.Errorf("run it in benchmarks/: %w", err)
	}
	cmd := exec.Command("go", "build", "-o", binary, "./examples/gateway")
	cmd.Dir = strings.TrimSpace(string(dir))
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build of the gateway: %w: %.500s", err, text)
	}
	return nil
}

// pinSelf puts the load on the model server's processor.
func pinSelf() {
	_ = exec.Command("taskset", "-apc", loadCPU, strconv.Itoa(os.Getpid())).Run()
	runtime.GOMAXPROCS(1)
}

func (b *bench) start(r rival, s setup) (err error) {
	if s.address, err = freeAddress(); err != nil {
		return err
	}
	if s.admin, err = freeAddress(); err != nil {
		return err
	}
	args, err := r.args(&s)
	if err != nil {
		return err
	}
	p, err := start(b.dir, r.name, proxyCPU, s.address, args...)
	if err != nil {
		return err
	}
	b.running[r.name] = &contestant{process: p, setup: s}
	return nil
}

func (b *bench) stop() {
	for _, c := range b.running {
		c.stop()
	}
	b.model.stop()
}

// figures are the measurements of a rival: one of each round.
type figures struct {
	title string
	start float64              // MiB at the start
	cpu   map[string][]float64 // µs per request or event
	peak  map[string][]float64 // MiB
	delay map[string][]float64 // ms: p50 and p99 of requests at a fixed rate less those of the round without proxy, p99 of events
	idle  []float64            // KiB per silent stream
}

func newFigures(title string) *figures {
	return &figures{title, 0, map[string][]float64{}, map[string][]float64{}, map[string][]float64{}, nil}
}

// loads of JSON by the size of the prompt.
func loads() map[string]int {
	return map[string]int{"1 KB": 800, "16 KB": 16 << 10, "256 KB": 256 << 10}
}

const (
	pacedRate = 3000
	// eachStreams is the number of rounds of which one has streams, which take longer.
	eachStreams = 5
)

// rounds measures everything, the rivals in turn.
func (b *bench) rounds() (map[string]*figures, error) {
	results := map[string]*figures{"direct": newFigures("none (the model server alone)")}
	for _, r := range b.rivals {
		results[r.name] = newFigures(r.title)
	}
	for round := range b.o.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, b.o.rounds)
		for _, size := range []string{"1 KB", "16 KB", "256 KB"} {
			if err := b.each(func(r rival, c *contestant) error { return b.json(results[r.name], c, size) }); err != nil {
				return nil, err
			}
		}
		if err := b.latencies(results); err != nil {
			return nil, err
		}
		if round%eachStreams != 0 {
			continue
		}
		if err := b.each(func(r rival, c *contestant) error { return b.events(results[r.name], c) }); err != nil {
			return nil, err
		}
	}
	return results, b.each(func(r rival, _ *contestant) error {
		if err := b.peaks(r, results[r.name]); err != nil {
			return err
		}
		return b.silent(r, results[r.name])
	})
}

func (b *bench) each(f func(rival, *contestant) error) error {
	for _, r := range b.rivals {
		if err := f(r, b.running[r.name]); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if err := b.running[r.name].check(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) json(f *figures, c *contestant, size string) error {
	req := request("demo", 0, loads()[size])
	if got := full(c.setup.address, req, b.o.load/4); got.err != nil { // warm connections and pools
		return got.err
	}
	before := c.cpu()
	got := full(c.setup.address, req, b.o.load)
	used := c.cpu() - before
	if got.err != nil {
		return got.err
	}
	f.cpu[size] = append(f.cpu[size], micro(used)/float64(got.requests))
	return nil
}

func (b *bench) latencies(results map[string]*figures) error {
	req := request("demo", 0, 800)
	measure := func(name, address string) error {
		got := paced(address, req, connections, pacedRate, b.o.load)
		if got.err != nil {
			return fmt.Errorf("%s: %w", name, got.err)
		}
		d := results[name].delay
		d["p50"] = append(d["p50"], milli(got.quantile(.5)))
		d["p99"] = append(d["p99"], milli(got.quantile(.99)))
		return nil
	}
	if err := measure("direct", b.direct); err != nil {
		return err
	}
	return b.each(func(r rival, c *contestant) error { return measure(r.name, c.setup.address) })
}

func (b *bench) events(f *figures, c *contestant) error {
	c.resetPeak()
	before := c.cpu()
	got := streams(c.setup.address, b.o.streams, b.o.events)
	used := c.cpu() - before
	if got.failed > int64(b.o.streams)/100 { // a ReverseProxy does not repeat a POST over a connection that has just closed
		return fmt.Errorf("%d of %d streams: %w", got.failed, b.o.streams, got.err)
	}
	_, peak := c.memory()
	f.cpu["event"] = append(f.cpu["event"], micro(used)/float64(got.requests))
	f.peak["event"] = append(f.peak["event"], mib(peak))
	f.delay["event"] = append(f.delay["event"], milli(got.quantile(.99)))
	return nil
}

// restart starts a rival anew.
func (b *bench) restart(r rival) (*contestant, error) {
	old := b.running[r.name]
	old.stop()
	if err := b.start(r, old.setup); err != nil {
		return nil, err
	}
	time.Sleep(2 * b.o.load)
	return b.running[r.name], nil
}

// peaks measures memory under load, in a process that has just started.
func (b *bench) peaks(r rival, f *figures) error {
	c, err := b.restart(r)
	if err != nil {
		return err
	}
	f.start = mib(c.resident())
	for _, size := range []string{"1 KB", "256 KB"} {
		c.resetPeak()
		if got := full(c.setup.address, request("demo", 0, loads()[size]), 3*b.o.load); got.err != nil {
			return got.err
		}
		_, peak := c.memory()
		f.peak[size] = append(f.peak[size], mib(peak))
	}
	return nil
}

// silent measures the memory of streams that wait for their next event, in a process that has
// just started.
func (b *bench) silent(r rival, f *figures) error {
	c, err := b.restart(r)
	if err != nil {
		return err
	}
	before := c.resident()
	stop, err := idle(c.setup.address, b.o.streams)
	defer stop()
	if err != nil {
		return err
	}
	time.Sleep(12 * b.o.load) // proxies may return memory meanwhile
	f.idle = append(f.idle, float64(c.resident()-before)/1024/float64(b.o.streams))
	return nil
}

func (c *contestant) resident() int64 {
	resident, _ := c.memory()
	return resident
}

func mib(bytes int64) float64       { return float64(bytes) / (1 << 20) }
func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func milli(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
