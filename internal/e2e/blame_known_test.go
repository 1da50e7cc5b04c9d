package e2e_test

// knownBlame are the cases of TestBlame that are known to fail.
var knownBlame = knownFailure{
	// What fails while the client's bytes are read is the client's.
	"HTTP/2: longer than its length, streamed": "h2 on?, h2 off?",
	// A rate limit is the credential's.
	"response.failed for rate_limit_exceeded": "h1 on, h2 on",
}
