package breaker_test

import (
	"testing"

	"github.com/ginfer/ginfer/breaker"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An error of JSON-RPC in a stream is a valid response: a request for an unknown method must
// not open a circuit.
func TestRemoteErrorsAreResponses(t *testing.T) {
	t.Parallel()
	for name, event := range map[string]string{
		"as usual":  `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no such method"}}`,
		"backwards": `{"error":{"code":-32601,"message":"no such method"},"id":1,"jsonrpc":"2.0"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _ := group(t, breaker.Settings{Consecutive: 2, FailurePercent: -1})
			up := &upstream{respond: respondWith(200, "text/event-stream", "event: message\ndata: "+event+"\n\n")} //nolint:bodyclose // send closes it
			rt := g.Transport(up)
			for range 5 {
				_, err := send(t.Context(), rt)
				require.NoError(t, err)
			}
			assert.Equal(t, breaker.Closed, state(t, g).State)
		})
	}
}
