package observe

import "go.opentelemetry.io/otel/metric"

// bounds are the bucket boundaries of histograms, as in the semantic conventions. Requests
// reach as far as operations of models, because streams may take long.
type bounds struct{ durations, requests, first, pauses, tokens, short []float64 }

func newBounds() bounds {
	durations := []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
	return bounds{
		durations: durations,
		requests:  append([]float64{0.001, 0.0025, 0.005}, durations...),
		first:     []float64{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60},
		pauses:    []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5},
		tokens:    []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864},
		short:     []float64{0.00001, 0.0001, 0.001, 0.01, 0.1, 1, 10},
	}
}

// instruments are all instruments of the package.
type instruments struct {
	active         metric.Int64UpDownCounter
	serverDuration metric.Float64Histogram
	clientDuration metric.Float64Histogram
	requests       metric.Int64Counter
	firstByte      metric.Float64Histogram
	attempts       metric.Int64Counter
	bytes          metric.Int64Counter

	genServerDuration metric.Float64Histogram
	genServerFirst    metric.Float64Histogram
	genServerToken    metric.Float64Histogram
	genDuration       metric.Float64Histogram
	genFirst          metric.Float64Histogram
	genPause          metric.Float64Histogram
	genTokens         metric.Float64Histogram
	stalls            metric.Int64Counter

	decisions metric.Int64Counter
	fallbacks metric.Int64Counter
	skipped   metric.Int64Counter
	swaps     metric.Int64Counter
	rollouts  metric.Int64Counter
	mirrored  metric.Int64Counter

	limits      metric.Int64Counter
	limitWait   metric.Float64Histogram
	limitTokens metric.Int64Counter
	limitDown   metric.Int64Gauge
	concurrency metric.Int64Gauge

	identified  metric.Int64Counter
	identifying metric.Float64Histogram
	addresses   metric.Int64Counter
	keyUpdates  metric.Int64Counter

	transitions metric.Int64Counter
	changes     metric.Int64Counter

	cached       metric.Int64Counter
	cacheChanges metric.Int64Counter
	cacheDown    metric.Int64Gauge

	streamsEnded metric.Int64Counter
	heartbeats   metric.Int64Counter
}

func newInstruments(meter metric.Meter) (instruments, error) {
	k := &maker{meter: meter, bounds: newBounds()}
	var in instruments
	in.http(k)
	in.generation(k)
	in.gateway(k)
	return in, k.err()
}

func (in *instruments) http(k *maker) {
	var err error
	in.active, err = k.meter.Int64UpDownCounter("http.server.active_requests", metric.WithUnit("{request}"), metric.WithDescription("Requests under way."))
	k.faults = append(k.faults, err)
	in.serverDuration = k.histogram("http.server.request.duration", "s", "Time from a request to the end of its response.", k.bounds.requests)
	in.clientDuration = k.histogram("http.client.request.duration", "s", "Duration of one attempt at an upstream.", k.bounds.requests)
	in.requests = k.counter("gateway.requests", "{request}", "Requests by outcome.")
	in.firstByte = k.histogram("gateway.first_byte", "s", "Time from a request to the start of the upstream's response; of a stream, to its first content.", k.bounds.first)
	in.attempts = k.counter("gateway.tries", "{try}", "Attempts at upstreams: first ones, retries, fallbacks and hedges.")
	in.bytes = k.counter("gateway.sent", "By", "Bytes of responses sent to clients.")
}

func (in *instruments) generation(k *maker) {
	in.genServerDuration = k.histogram("gen_ai.server.request.duration", "s", "Time from a request for a model to the end of its response, as the client sees it.", k.bounds.durations)
	in.genServerFirst = k.histogram("gen_ai.server.time_to_first_token", "s", "Time from a request to its first token, as the client sees it.", k.bounds.first)
	in.genServerToken = k.histogram("gen_ai.server.time_per_output_token", "s", "Mean time between the tokens of one response.", k.bounds.pauses)
	in.genDuration = k.histogram("gen_ai.client.operation.duration", "s", "Duration of one attempt at a model.", k.bounds.durations)
	in.genFirst = k.histogram("gen_ai.client.operation.time_to_first_chunk", "s", "Time from the start of an attempt to its first token.", k.bounds.first)
	in.genPause = k.histogram("gen_ai.client.operation.time_per_output_chunk", "s", "Time between two tokens.", k.bounds.pauses)
	in.genTokens = k.histogram("gen_ai.client.token.usage", "{token}", "Input and output tokens of one attempt.", k.bounds.tokens)
	in.stalls = k.counter("gateway.stalls", "{stall}", "Pauses between tokens that were too long.")
}

func (in *instruments) gateway(k *maker) {
	in.decisions = k.counter("gateway.routing.decisions", "{request}", "Requests routed to a version.")
	in.fallbacks = k.counter("gateway.routing.fallbacks", "{request}", "Requests that fell back to another version.")
	in.skipped = k.counter("gateway.routing.skipped", "{request}", "Versions skipped for a missing capability.")
	in.swaps = k.counter("gateway.routing.swaps", "{swap}", "Routing tables swapped.")
	in.mirrored = k.counter("gateway.routing.mirrored", "{request}", "Copies of requests sent to a mirror, and those dropped.")
	in.rollouts = k.counter("gateway.rollout.changes", "{change}", "Rollouts that advanced, stopped or were rolled back.")
	in.limits = k.counter("gateway.limit.decisions", "{request}", "Requests allowed and refused, or that limits in shadow mode would refuse.")
	in.limitWait = k.histogram("gateway.limit.wait", "s", "Time that requests waited for a limit.", k.bounds.requests)
	in.limitTokens = k.counter("gateway.limit.tokens", "{token}", "Tokens reserved and spent.")
	in.limitDown = k.gauge("gateway.limit.store.down", "", "1 while a shared store does not respond.")
	in.concurrency = k.gauge("gateway.limit.concurrency", "{request}", "Maximum number of requests under way.")
	in.identified = k.counter("gateway.auth.requests", "{request}", "Callers identified and refused.")
	in.identifying = k.histogram("gateway.auth.duration", "s", "Time to identify a caller.", k.bounds.short)
	in.addresses = k.counter("gateway.auth.addresses.refused", "{request}", "Requests refused by client address.")
	in.keyUpdates = k.counter("gateway.auth.key_updates", "{update}", "Updates of the keys that callers are verified with.")
	in.transitions = k.counter("gateway.breaker.transitions", "{transition}", "Circuits that changed their state.")
	in.changes = k.counter("gateway.endpoint.changes", "{change}", "Endpoints added, removed, unhealthy or ejected.")
	in.cached = k.counter("gateway.cache.requests", "{request}", "Requests by cache result.")
	in.cacheChanges = k.counter("gateway.cache.changes", "{change}", "Responses stored or not, evicted, purged, refreshed.")
	in.cacheDown = k.gauge("gateway.cache.store.down", "", "1 while a shared store does not respond.")
	in.streamsEnded = k.counter("gateway.streams.ended", "{stream}", "Streams that ended, and those ended by a limit.")
	in.heartbeats = k.counter("gateway.streams.heartbeats", "{heartbeat}", "Comments sent while a stream is silent.")
}
