package e2e_test

import (
	"maps"
	"sync"
)

// rowsKnown are the situations that are known to fail, by reason, as go test names them.
// {a|b} stands for both. Each must fail.
var rowsKnown = map[string][]string{
	"a heartbeat has a blank line, and goes between CR and LF": {
		"TestDialectHeartbeatIsInvisible/between_CR_and_LF",
	},
	"a 429 with Retry-After rests the endpoint for everybody": {
		"TestDialectLimitOfOneIsNobodyElses/with_another_upstream_the_limited_one_is_left_alone",
	},
	"the reason of the last attempt is thrown away, or opens a circuit": {
		"TestDialectReasonReachesTheClient/error:_of_an_old_llama.cpp",
	},
	"a refusal of the credential of the operator goes to the client": {
		"TestDialectWhoseCredentialWasRefused/404_of_the_operator's,_the_only_upstream",
	},
	"the context error of an upstream leads nowhere": {
		"TestDialectUpstreamsOwnContextError/in_response.failed",
	},
	"a response that is compressed unasked is not metered": {
		"TestDialectCompressedUnasked/{JSON|JSON,_the_client_takes_gzip|stream|stream,_the_client_takes_gzip|stream,_the_client_takes_no_gz}",
	},
}

// knownRows are all of these names, with the reason.
var knownRows = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	for reason, patterns := range rowsKnown {
		for _, pattern := range patterns {
			maps.Copy(out, expandAll(reason, pattern))
		}
	}
	return out
})
