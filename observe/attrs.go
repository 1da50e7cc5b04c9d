package observe

import (
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// The names are those of OpenTelemetry's semantic conventions for HTTP (stable) and
// for generative AI (development), and under "gateway." our own. The conventions for
// generative AI have left the semconv module, so they stand here.
const (
	keyMethod     = attribute.Key("http.request.method")
	keyRoute      = attribute.Key("http.route")
	keyStatus     = attribute.Key("http.response.status_code")
	keyResend     = attribute.Key("http.request.resend_count")
	keyBytesIn    = attribute.Key("http.request.body.size")
	keyBytesOut   = attribute.Key("http.response.body.size")
	keyScheme     = attribute.Key("url.scheme")
	keyPath       = attribute.Key("url.path")
	keyProtocol   = attribute.Key("network.protocol.version")
	keyAddress    = attribute.Key("server.address")
	keyPort       = attribute.Key("server.port")
	keyErrorType  = attribute.Key("error.type")
	keyOperation  = attribute.Key("gen_ai.operation.name")
	keyProvider   = attribute.Key("gen_ai.provider.name")
	keyModel      = attribute.Key("gen_ai.request.model")
	keyServed     = attribute.Key("gen_ai.response.model")
	keyTokenType  = attribute.Key("gen_ai.token.type")
	keyInput      = attribute.Key("gen_ai.usage.input_tokens")
	keyOutput     = attribute.Key("gen_ai.usage.output_tokens")
	keyCached     = attribute.Key("gen_ai.usage.cache_read.input_tokens")
	keyVersion    = attribute.Key("gateway.route.version")
	keyOutcome    = attribute.Key("gateway.outcome")
	keyBlame      = attribute.Key("gateway.blame")
	keyUpstream   = attribute.Key("gateway.upstream")
	keyEndpoint   = attribute.Key("gateway.endpoint")
	keyTries      = attribute.Key("gateway.tries")
	keyTry        = attribute.Key("gateway.try")
	keyTryKind    = attribute.Key("gateway.try.kind")
	keyHedge      = attribute.Key("gateway.hedge")
	keyFrom       = attribute.Key("gateway.fallback.from")
	keyLacks      = attribute.Key("gateway.lacks")
	keyCircuit    = attribute.Key("gateway.circuit")
	keyState      = attribute.Key("gateway.state")
	keyReason     = attribute.Key("gateway.reason")
	keyLimiter    = attribute.Key("gateway.limiter")
	keyLimit      = attribute.Key("gateway.limit")
	keyShadow     = attribute.Key("gateway.limit.shadow")
	keyDecision   = attribute.Key("gateway.decision")
	keyCache      = attribute.Key("gateway.cache")
	keyCacheName  = attribute.Key("gateway.cache.name")
	keyPolicy     = attribute.Key("gateway.cache.policy")
	keyChange     = attribute.Key("gateway.change")
	keyAuthMethod = attribute.Key("gateway.auth.method")
	keyEstimated  = attribute.Key("gateway.tokens.estimated")
	keyStalls     = attribute.Key("gateway.stalls")
	keyRequestID  = attribute.Key("gateway.request.id")
	keyUpstreamID = attribute.Key("gateway.upstream.request.id")
	keyGroup      = attribute.Key("gateway.group")
	keyRollout    = attribute.Key("gateway.rollout")
	keyCheck      = attribute.Key("gateway.rollout.check")
)

// labels are a set of attributes as a comparable value, to find again what was made
// of it. An empty value is left out.
type labels [6]label

type label struct {
	key   attribute.Key
	value string
}

// labelSets keeps the options made of labels: to make one costs more than to use it.
type labelSets struct {
	kept bounded[labels, metric.MeasurementOption]
}

// maxSets bounds the sets that are kept. More are made each time anew.
const maxSets = 4096

func (s *labelSets) of(l labels) metric.MeasurementOption {
	return s.kept.get(l, maxSets, option)
}

func option(l labels) metric.MeasurementOption {
	kvs := make([]attribute.KeyValue, 0, len(l))
	for _, one := range l {
		switch {
		case one.value == "":
		case one.key == keyStatus, one.key == keyPort:
			n, _ := strconv.Atoi(one.value) // they were made of numbers
			kvs = append(kvs, one.key.Int(n))
		default:
			kvs = append(kvs, one.key.String(one.value))
		}
	}
	return metric.WithAttributeSet(attribute.NewSet(kvs...))
}

// status is a status as a label; "" when there is none.
func status(code int) string {
	if code < 100 || code > 999 {
		return ""
	}
	return strconv.Itoa(code)
}
