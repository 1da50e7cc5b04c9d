// Command peers compares the gateway with other proxies: CPU per request and per event, added
// latency, and memory. Each proxy is a process of its own on one processor; the load and the model
// server are on another. Rounds are interleaved, so read the ratios, not the times.
//
//	go run ./peers -rounds 3 -seconds 5 -write ../docs
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		if role, ok := roles()[os.Args[1]]; ok {
			exit(role(os.Args[2:]))
			return
		}
	}
	exit(compare())
}

// roles are the processes that the command starts of itself.
func roles() map[string]func([]string) error {
	return map[string]func([]string) error{"upstream": upstream, "bare": bare, "gin": ginStack}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// options are the flags of a comparison.
type options struct {
	rounds, streams int
	events, prompt  int
	load            time.Duration // of each measurement
	only            string
	write           string
	before          string
	soak            time.Duration
	settle          time.Duration
	where           time.Duration
}

func parse() options {
	var o options
	flag.IntVar(&o.rounds, "rounds", 20, "interleaved rounds; the report has their median. Streams take part in each fifth")
	flag.IntVar(&o.streams, "streams", 2000, "concurrent streams")
	flag.IntVar(&o.events, "events", 100, "events of a stream")
	flag.DurationVar(&o.load, "load", time.Second, "load of each measurement: short, so that a busy moment of the machine hits all")
	flag.StringVar(&o.only, "only", "", "comma-separated rivals (default: all that are installed)")
	flag.StringVar(&o.write, "write", "", "folder that receives benchmarks.md, between its markers, and benchmarks.svg")
	flag.StringVar(&o.before, "before", "", "another gateway binary to compare with")
	flag.DurationVar(&o.soak, "soak", 0, "instead of a comparison, load the gateway for this long and report heap and goroutines")
	flag.IntVar(&o.prompt, "prompt", 800, "bytes of the prompts of -soak")
	flag.DurationVar(&o.settle, "settle", 0, "instead of a comparison, run -streams through the gateway and report memory after this time")
	flag.DurationVar(&o.where, "where", 0, "instead of a comparison, profile the gateway under loads of this long and report where its time goes")
	flag.Parse()
	return o
}

func compare() error {
	o := parse()
	raiseLimit()
	dir, err := os.MkdirTemp("", "peers")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b, err := newBench(dir, o)
	if err != nil {
		return err
	}
	defer b.stop()
	switch {
	case o.soak > 0:
		return b.soak()
	case o.settle > 0:
		return b.settle()
	case o.where > 0:
		costs, err := b.where()
		if err != nil {
			return err
		}
		return writeWhere(costs, o.write)
	}
	results, err := b.rounds()
	if err != nil {
		return err
	}
	text := report(results, o)
	fmt.Println(text)
	if o.write == "" {
		return nil
	}
	if err := insert(filepath.Join(o.write, "benchmarks.md"), "make bench-peers", text); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.write, "benchmarks.svg"), []byte(plot(results)), 0o644)
}

// insert replaces what is between the markers of a command in a document.
func insert(file, command, text string) error {
	begin, end := "<!-- begin of "+command+" -->\n", "<!-- end of "+command+" -->"
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(old), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s: no markers", file)
	}
	return os.WriteFile(file, []byte(head+begin+"\n"+text+"\n"+end+tail), 0o644)
}
