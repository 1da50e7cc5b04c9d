package rollout_test

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/rollout"
)

// A new version gets one percent of the users, then more while it is no worse.
func ExampleNew() {
	r, err := rollout.New(rollout.Config{Model: "chat", Stable: "v1", Canary: "v2"})
	if err != nil {
		fmt.Println(err)
		return
	}
	table, err := routing.ParseTable([]byte(`{"routes": [
		{"model": "chat", "version": "v1", "weight": 100},
		{"model": "chat", "version": "v2", "weight": 0, "fallback": ["v1"]}
	]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = routing.New(routing.Config{
		Table:        table,
		Rollouts:     []*rollout.Rollout{r},
		Upstreams:    map[string]http.RoundTripper{"v1": http.DefaultTransport, "v2": http.DefaultTransport},
		StickyHeader: "X-User-Id",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	// go r.Run(ctx)
	s := r.Status()
	fmt.Println(s.State, s.Share, s.Steps)
	// Output: running 0.01 [0.01 0.05 0.2 1]
}

func ExampleNewFileStore() {
	folder, err := os.MkdirTemp("", "rollouts")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	r, err := rollout.New(rollout.Config{Stable: "v1", Canary: "v2", Store: rollout.NewFileStore(folder)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Status().Share, r.Restore(context.Background()), r.Status().Share)
	// Output: 0 <nil> 0.01
}
