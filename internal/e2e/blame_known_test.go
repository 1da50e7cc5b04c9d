package e2e_test

// knownBlame are the cases of TestBlame that are known to fail.
var knownBlame = knownFailure{
	// Sent although it can be known that no server takes them.
	"a method beyond ASCII":                            "h2 on, h2 off",
	"a method with a space":                            "h2 on, h2 off",
	"a method with an at sign":                         "h2 on, h2 off",
	"a space in the query":                             "h2 on, h2 off",
	"a space in the query of a path that nobody reads": "h2 on, h2 off",
	// What fails while the client's bytes are read is the client's.
	"HTTP/1.1: NUL in a trailer, streamed":                   "h1 on, h1 off",
	"HTTP/1.1: a bad size of a chunk, streamed":              "h1 on, h1 off",
	"HTTP/1.1: a bad size of a chunk, then closed, streamed": "h1 on, h1 off",
	"HTTP/1.1: a broken last chunk, streamed":                "h1 on, h1 off",
	"HTTP/1.1: a chunk without a line end, streamed":         "h1 on, h1 off",
	"HTTP/1.1: a huge size of a chunk, streamed":             "h1 on, h1 off",
	"HTTP/1.1: a negative size of a chunk, streamed":         "h1 on, h1 off",
	"HTTP/1.1: a trailer without a name, streamed":           "h1 on, h1 off",
	"broken while uploading, after the head":                 "h1 on, h1 off",
	"shorter than its length, streamed":                      "h2 on, h2 off",
	"HTTP/2: longer than its length, streamed":               "h2 on?, h2 off?",
	// A cooldown is the credential's, and with nowhere else to go others pass.
	"429 with Retry-After: 30":     "h1 on, h1 off, h2 on, h2 off",
	"429 with Retry-After: a date": "h1 on, h1 off, h2 on, h2 off",
	"429 with Retry-After: a day":  "h1 on, h1 off, h2 on, h2 off",
	// An event of the request's own fault, of a quota, of an unknown kind.
	"Anthropic's invalid request, late":        "h1 on, h1 off, h2 on, h2 off",
	"a bad key, late":                          "h1 on, h1 off, h2 on, h2 off",
	"a kind that nobody knows, after the role": "h1 on, h1 off, h2 on, h2 off",
	"a kind that nobody knows, first":          "h1 on, h1 off, h2 on, h2 off",
	"a kind that nobody knows, in JSON":        "h1 on, h1 off, h2 on, h2 off",
	"a kind that nobody knows, late":           "h1 on, h1 off, h2 on, h2 off",
	"a rate limit, after the role":             "h1 on, h1 off, h2 on, h2 off",
	"a rate limit, first":                      "h1 on, h1 off, h2 on, h2 off",
	"a rate limit, in JSON":                    "h1 on, h1 off, h2 on, h2 off",
	"a rate limit, late":                       "h1 on, h1 off, h2 on, h2 off",
	"a refusal by a filter, late":              "h1 on, h1 off, h2 on, h2 off",
	"a request that is too long, late":         "h1 on, h1 off, h2 on, h2 off",
	"a text alone, after the role":             "h1 on, h1 off, h2 on, h2 off",
	"a text alone, first":                      "h1 on, h1 off, h2 on, h2 off",
	"a text alone, late":                       "h1 on, h1 off, h2 on, h2 off",
	"an invalid request, late":                 "h1 on, h1 off, h2 on, h2 off",
	"no more quota, after the role":            "h1 on, h1 off, h2 on, h2 off",
	"no more quota, first":                     "h1 on, h1 off, h2 on, h2 off",
	"no more quota, in JSON":                   "h1 on, h1 off, h2 on, h2 off",
	"no more quota, late":                      "h1 on, h1 off, h2 on, h2 off",
	"response.failed for rate_limit_exceeded":  "h1 on, h1 off, h2 on, h2 off",
}
