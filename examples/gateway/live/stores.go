package live

import (
	"fmt"
	"strings"

	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/ratelimit"
)

// StoreDown is a shared store that is down.
type StoreDown struct {
	// Name is limits, cache or queue.
	Name string
	// Effect is what happens meanwhile, in words.
	Effect string
	// Cause is the last failure.
	Cause error
	// Refuses is set when requests are refused meanwhile.
	Refuses bool
}

// String returns one line.
func (s StoreDown) String() string {
	return fmt.Sprintf("%s: the store is down, %s: %s", s.Name, s.Effect, strings.Join(strings.Fields(s.Cause.Error()), " "))
}

// StoresDown returns the stores that are down. It makes no call.
func (a *App) StoresDown() (down []StoreDown) {
	if shared, ok := a.buckets.(*ratelimit.Shared); ok {
		if err := shared.Down(); err != nil {
			one := StoreDown{Name: "limits", Effect: "each replica enforces its share", Cause: err}
			switch a.Config.Redis.FailureMode {
			case "fail_closed":
				one.Effect, one.Refuses = "requests with a limit are refused", true
			case "fail_open":
				one.Effect = "requests pass without limits"
			}
			down = append(down, one)
		}
	}
	if a.responses != nil {
		if tiered, ok := a.responses.store.(*cache.Tiered); ok && tiered.Down() != nil {
			down = append(down, StoreDown{Name: "cache", Effect: "each replica has its own", Cause: tiered.Down()})
		}
	}
	if a.Queue != nil {
		if err := a.Queue.Down(); err != nil {
			down = append(down, StoreDown{Name: "queue", Effect: "jobs and batches are refused", Cause: err, Refuses: a.Config.Queue == nil || !a.Config.Queue.Optional})
		}
	}
	return down
}
