package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// health is the state of the gateway: memory and goroutines.
type health struct {
	resident, anonymous int64
	heap, stacks        int64
	goroutines          int64
}

func (b *bench) health() (health, error) {
	c := b.running["gateway"]
	text, err := get("http://" + c.setup.admin + "/metrics")
	if err != nil {
		return health{}, err
	}
	h := health{resident: c.resident(), anonymous: c.anonymous()}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		v, _ := strconv.ParseFloat(value, 64)
		switch name {
		case "go_memstats_heap_inuse_bytes":
			h.heap = int64(v)
		case "go_memstats_stack_inuse_bytes":
			h.stacks = int64(v)
		case "go_goroutines":
			h.goroutines = int64(v)
		}
	}
	return h, nil
}

func (h health) String() string {
	return fmt.Sprintf("%.1f MiB resident, without the program's file %.1f, heap %.1f, stacks %.1f, %d goroutines", mib(h.resident), mib(h.anonymous), mib(h.heap), mib(h.stacks), h.goroutines)
}

func get(url string) (string, error) {
	res, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

func (b *bench) print(what string) error {
	h, err := b.health()
	if err == nil {
		_, err = fmt.Fprintf(os.Stdout, "%-28s %s\n", what, h)
	}
	return err
}

// settle runs many streams at once and shows whether memory and goroutines return.
func (b *bench) settle() error {
	if err := b.print("before"); err != nil {
		return err
	}
	c := b.running["gateway"]
	begun := time.Now()
	got := streams(c.setup.address, b.o.streams, b.o.events)
	if got.err != nil {
		return fmt.Errorf("%d of %d streams: %w", got.failed, b.o.streams, got.err)
	}
	fmt.Printf("%d streams whole, %d events, delay p50 %v p99 %v, %v\n", b.o.streams, got.requests, got.quantile(.5), got.quantile(.99), time.Since(begun).Round(time.Second))
	if err := b.print("at the end"); err != nil {
		return err
	}
	time.Sleep(b.o.settle)
	return b.print(fmt.Sprintf("%v later", b.o.settle))
}

// soak keeps the gateway at full load and shows its memory every thirty seconds.
func (b *bench) soak() error {
	c := b.running["gateway"]
	done := make(chan *sent, 1)
	begun := time.Now()
	go func() { done <- full(c.setup.address, request("demo", 0, b.o.prompt), b.o.soak) }()
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		select {
		case got := <-done:
			fmt.Printf("%d requests, %d failed\n", got.requests, got.failed)
			return got.err
		case <-tick.C:
			if err := b.print(time.Since(begun).Round(time.Second).String()); err != nil {
				return err
			}
		}
	}
}
