// Package price computes what requests to models cost. Use it to bill tenants, and to limit them by
// money instead of tokens.
//
//	table, err := price.Parse(text)
//	row, err := table.Find("gpt-5-mini", "azure", time.Now())
//	cost := row.Cost(price.Usage{Input: 1200, Cached: 1000, Output: 85})
//	fmt.Println(cost, table.Currency()) // 0.000245 USD
//
// A [Table] is JSON:
//
//	{
//	  "currency": "USD", "per": 1000000,
//	  "models": [
//	    {"model": "big*", "input": 2.5, "cached_input": 1.25, "cache_write": 3.1, "output": 10, "reasoning": 10,
//	     "above": [{"tokens": 200000, "input": 5, "output": 15}]},
//	    {"model": "big*", "upstream": "batch", "input": 1.25, "output": 5, "from": "2026-01-01", "until": "2027-01-01"},
//	    {"model": "*", "input": 3, "output": 12, "request": 0.001, "image": 0.04, "audio_second": 0.0001}
//	  ]
//	}
//
// Prices of tokens are for "per" tokens (default 1,000,000); those of requests, images and seconds of
// audio are for one. A price that is missing is 0, but that of cached and of cache-written input is
// the input's, and that of reasoning the output's. "model" and "upstream" are names with * for any
// text; "upstream" is * by default. "from" (inclusive) and "until" (exclusive) are days, in UTC, or
// times as of RFC 3339. Each of "above" replaces prices of a request with more input tokens, for all
// tokens of the request.
//
// The most specific row counts: that with the longest text beside * in its model, then in its
// upstream, then the one that begins last.
//
// Sums are exact: integers, without floating point. They are rounded once, at the end: half to even
// for a [Row.Cost], up for a [Row.Reserve].
//
// What happens on failure: a table with a fault is refused with all of its faults (closed), and a
// model without a row has no price, not that of 0 (closed): [ErrNoPrice].
//
// All functions are safe for concurrent use.
package price
