package observe

import (
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Attribute names of OpenTelemetry's semantic conventions for HTTP (stable) and generative
// AI (development), and the gateway's own under "gateway.". The semconv module no longer
// has the conventions for generative AI.
const (
	keyMethod      = attribute.Key("http.request.method")
	keyRoute       = attribute.Key("http.route")
	keyStatus      = attribute.Key("http.response.status_code")
	keyResend      = attribute.Key("http.request.resend_count")
	keyBytesIn     = attribute.Key("http.request.body.size")
	keyBytesOut    = attribute.Key("http.response.body.size")
	keyScheme      = attribute.Key("url.scheme")
	keyPath        = attribute.Key("url.path")
	keyProtocol    = attribute.Key("network.protocol.version")
	keyAddress     = attribute.Key("server.address")
	keyPort        = attribute.Key("server.port")
	keyErrorType   = attribute.Key("error.type")
	keyOperation   = attribute.Key("gen_ai.operation.name")
	keyProvider    = attribute.Key("gen_ai.provider.name")
	keyModel       = attribute.Key("gen_ai.request.model")
	keyServed      = attribute.Key("gen_ai.response.model")
	keyTokenType   = attribute.Key("gen_ai.token.type")
	keyInput       = attribute.Key("gen_ai.usage.input_tokens")
	keyOutput      = attribute.Key("gen_ai.usage.output_tokens")
	keyCached      = attribute.Key("gen_ai.usage.cache_read.input_tokens")
	keyVersion     = attribute.Key("gateway.route.version")
	keyOutcome     = attribute.Key("gateway.outcome")
	keyBlame       = attribute.Key("gateway.blame")
	keyUpstream    = attribute.Key("gateway.upstream")
	keyEndpoint    = attribute.Key("gateway.endpoint")
	keyAttempts    = attribute.Key("gateway.tries")
	keyAttempt     = attribute.Key("gateway.try")
	keyAttemptKind = attribute.Key("gateway.try.kind")
	keyHedge       = attribute.Key("gateway.hedge")
	keyFrom        = attribute.Key("gateway.fallback.from")
	keyLacks       = attribute.Key("gateway.lacks")
	keyCircuit     = attribute.Key("gateway.circuit")
	keyState       = attribute.Key("gateway.state")
	keyReason      = attribute.Key("gateway.reason")
	keyLimiter     = attribute.Key("gateway.limiter")
	keyLimit       = attribute.Key("gateway.limit")
	keyShadow      = attribute.Key("gateway.limit.shadow")
	keyDecision    = attribute.Key("gateway.decision")
	keyCache       = attribute.Key("gateway.cache")
	keyCacheName   = attribute.Key("gateway.cache.name")
	keyPolicy      = attribute.Key("gateway.cache.policy")
	keyChange      = attribute.Key("gateway.change")
	keyAuthMethod  = attribute.Key("gateway.auth.method")
	keyEstimated   = attribute.Key("gateway.tokens.estimated")
	keyStalls      = attribute.Key("gateway.stalls")
	keyRequestID   = attribute.Key("gateway.request.id")
	keyUpstreamID  = attribute.Key("gateway.upstream.request.id")
	keyGroup       = attribute.Key("gateway.group")
	keyRollout     = attribute.Key("gateway.rollout")
	keyCheck       = attribute.Key("gateway.rollout.check")
)

// labels is a set of attributes as a comparable value, the key of [labelSets]. Empty values
// are omitted.
type labels [6]label

type label struct {
	key   attribute.Key
	value string
}

// labelSets caches the options made of labels, which cost more to make than to use.
type labelSets struct {
	kept bounded[labels, options]
}

// options are one set as the options of each kind of instrument. The slices are shared, because a
// call with options of its own allocates one.
type options struct {
	observe metric.MeasurementOption
	add     []metric.AddOption
	record  []metric.RecordOption
}

// maxSets bounds the cached sets. Further ones are made for each use.
const maxSets = 4096

func (s *labelSets) of(l labels) metric.MeasurementOption {
	return s.kept.get(l, maxSets, newOptions).observe
}

// add returns the set for a counter.
func (s *labelSets) add(l labels) []metric.AddOption { return s.kept.get(l, maxSets, newOptions).add }

// record returns the set for a histogram or gauge.
func (s *labelSets) record(l labels) []metric.RecordOption {
	return s.kept.get(l, maxSets, newOptions).record
}

func newOptions(l labels) options {
	kvs := make([]attribute.KeyValue, 0, len(l))
	for _, one := range l {
		switch {
		case one.value == "":
		case one.key == keyStatus, one.key == keyPort:
			n, _ := strconv.Atoi(one.value) // made of numbers, so valid
			kvs = append(kvs, one.key.Int(n))
		default:
			kvs = append(kvs, one.key.String(one.value))
		}
	}
	o := metric.WithAttributeSet(attribute.NewSet(kvs...))
	return options{o, []metric.AddOption{o}, []metric.RecordOption{o}}
}

// status returns a status as a label; "" if it is invalid.
func status(code int) string {
	if code < 100 || code > 999 {
		return ""
	}
	return strconv.Itoa(code)
}
