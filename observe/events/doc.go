// Package events feeds package observe with the events of the other packages: [Hooks] has the
// OnEvent function of each, and [Pools], [Circuits], [Caches] and [Rollouts] read their status
// for the metrics. It imports all of them; an application that has only the access log, metrics or
// spans of requests needs observe alone.
//
//	metrics, err := observe.NewMetrics(observe.MetricsConfig{Pools: events.Pools(states)})
//	hooks := events.Hooks{Metrics: metrics, Tracing: tracing, Logger: logger}
//	gateway, err := proxy.New(proxy.Config{OnEvent: hooks.Proxy, ...})
package events
