package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// order is the order of rivals in tables: that of rivals().
func order(results map[string]*figures) (names []string) {
	for _, r := range rivals("yes") {
		if results[r.name] != nil {
			names = append(names, r.name)
		}
	}
	return names
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// ratios divides the figures of each round by those of the bare proxy in the same round.
func ratios(values, bare []float64) float64 {
	var all []float64
	for i := range min(len(values), len(bare)) {
		all = append(all, values[i]/bare[i])
	}
	return median(all)
}

// added are the delays of a rival less those without a proxy, round by round.
func added(values, direct []float64) float64 {
	var all []float64
	for i := range min(len(values), len(direct)) {
		all = append(all, values[i]-direct[i])
	}
	return median(all)
}

// report renders the results as tables.
func report(results map[string]*figures, o options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, %s, one processor for each proxy, load and model server on another. Medians of %d interleaved rounds of %v.\n\n",
		time.Now().UTC().Format(time.DateOnly), machine(), runtime.Version(), o.rounds, o.load)
	fmt.Fprintf(&b, "POST of a chat completion, %d connections: CPU per request, the ratio to the bare proxy, and the peak of resident memory in a process that has just started.\n\n", connections)
	b.WriteString("| | 1 KB µs | × bare | MiB | 16 KB µs | × bare | 256 KB µs | × bare | MiB | MiB at start |\n|---|---|---|---|---|---|---|---|---|---|\n")
	bare := results["bare"]
	if bare == nil {
		bare = newFigures("")
	}
	for _, name := range order(results) {
		f := results[name]
		fmt.Fprintf(&b, "| %s", f.title)
		for _, size := range []string{"1 KB", "16 KB", "256 KB"} {
			fmt.Fprintf(&b, " | %.0f | %.2f", median(f.cpu[size]), ratios(f.cpu[size], bare.cpu[size]))
			if size != "16 KB" {
				fmt.Fprintf(&b, " | %.0f", median(f.peak[size]))
			}
		}
		fmt.Fprintf(&b, " | %.0f |\n", f.start)
	}
	direct := results["direct"].delay
	fmt.Fprintf(&b, "\n%d requests per second: latency in ms. \"Added\" is beyond the model server alone in the same round (p99 %.2f).\n\n| | p50 | p99 | added p50 | added p99 |\n|---|---|---|---|---|\n", pacedRate, median(direct["p99"]))
	for _, name := range order(results) {
		d := results[name].delay
		fmt.Fprintf(&b, "| %s | %.2f | %.2f | %.2f | %.2f |\n", results[name].title, median(d["p50"]), median(d["p99"]), added(d["p50"], direct["p50"]), added(d["p99"], direct["p99"]))
	}
	fmt.Fprintf(&b, "\n%d streams of %d events, one in %v: CPU per event, delay of an event from the model server to the client, and memory.\n\n| | µs per event | × bare | delay p99 ms | peak MiB | KiB per silent stream |\n|---|---|---|---|---|---|\n", o.streams, o.events, betweenEvents)
	for _, name := range order(results) {
		f := results[name]
		fmt.Fprintf(&b, "| %s | %.1f | %.2f | %.1f | %.0f | %.0f |\n", f.title, median(f.cpu["event"]), ratios(f.cpu["event"], bare.cpu["event"]), median(f.delay["event"]), median(f.peak["event"]), median(f.idle))
	}
	return b.String()
}

// machine names the processor.
func machine() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
