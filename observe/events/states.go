package events

import (
	"time"

	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/routing/rollout"
)

// Pools returns an observe.MetricsConfig.Pools that reads the endpoints of each upstream
// (balance.Pool.Status).
func Pools(read func() map[string][]balance.Status) func() map[string][]observe.EndpointState {
	return func() map[string][]observe.EndpointState {
		now := time.Now()
		return ofEach(read(), func(s *balance.Status) observe.EndpointState {
			up := s.Healthy && !s.Draining && !s.EjectedUntil.After(now) && !s.CoolingUntil.After(now)
			return observe.EndpointState{Name: s.Name, Up: up, Inflight: s.Inflight}
		})
	}
}

// Circuits returns an observe.MetricsConfig.Circuits that reads the circuits of each upstream
// (breaker.Group.Status).
func Circuits(read func() map[string][]breaker.Status) func() map[string][]observe.CircuitState {
	return func() map[string][]observe.CircuitState {
		return ofEach(read(), func(s *breaker.Status) observe.CircuitState {
			return observe.CircuitState{Name: s.Circuit, State: int(s.State)}
		})
	}
}

// ofEach converts the statuses of each upstream.
func ofEach[From, To any](all map[string][]From, convert func(*From) To) map[string][]To {
	out := make(map[string][]To, len(all))
	for upstream, list := range all {
		for i := range list {
			out[upstream] = append(out[upstream], convert(&list[i]))
		}
	}
	return out
}

// Caches returns an observe.MetricsConfig.Caches that reads caches by name.
func Caches(read func() map[string]*cache.Memory) func() map[string]observe.CacheState {
	return func() map[string]observe.CacheState {
		out := map[string]observe.CacheState{}
		for name, one := range read() {
			out[name] = observe.CacheState{Entries: one.Len(), Bytes: one.Bytes()}
		}
		return out
	}
}

// Rollouts returns an observe.MetricsConfig.Rollouts that reads rollouts (rollout.Rollout.Status).
func Rollouts(read func() []rollout.Status) func() []observe.RolloutState {
	return func() []observe.RolloutState {
		var out []observe.RolloutState
		for _, s := range read() {
			evidence := make(map[string]float64, len(s.Checks))
			for _, c := range s.Checks {
				evidence[c.Name] = min(c.Evidence/c.Limit, 1)
			}
			out = append(out, observe.RolloutState{Name: s.Name, State: s.State.String(), Share: s.Share, Evidence: evidence})
		}
		return out
	}
}
