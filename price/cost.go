package price

import "time"

// Usage is what a request, or an attempt of one, used.
type Usage struct {
	// Input tokens, including those read from and written to the server's prompt cache.
	Input int64
	// Cached and CacheWritten are the parts of Input that were read from the cache and written to
	// it.
	Cached, CacheWritten int64
	// Output tokens, including those of reasoning.
	Output int64
	// Reasoning is the part of Output that is not content.
	Reasoning int64
	// Requests is how often the price of a request applies: 1, but 0 for an attempt that repeats
	// another or was not admitted by the server.
	Requests int64
	// Images and Audio are images made or read, and the length of audio.
	Images int64
	Audio  time.Duration
}

// Cost returns the cost of the usage, rounded half to even. Parts of a count beyond the count itself
// are cut to it, the cached part first; counts below 0 are 0. Audio counts in milliseconds.
func (r *Row) Cost(u Usage) Amount { return r.cost(&u, false) }

// Reserve returns the cost of an expected usage, rounded up, so that a reservation is never less than
// the cost that is settled.
func (r *Row) Reserve(u Usage) Amount { return r.cost(&u, true) }

func (r *Row) cost(u *Usage, up bool) Amount {
	p := r.pricesAt(u.Input)
	input, output := max(u.Input, 0), max(u.Output, 0)
	cached := min(max(u.Cached, 0), input)
	written := min(max(u.CacheWritten, 0), input-cached)
	reasoning := min(max(u.Reasoning, 0), output)
	// All in 10⁻¹² of the unit, by "per" thousand.
	var all sum
	all.add(input-cached-written, mostTokens, p.input, 1000)
	all.add(cached, mostTokens, p.cached, 1000)
	all.add(written, mostTokens, p.written, 1000)
	all.add(output-reasoning, mostTokens, p.output, 1000)
	all.add(reasoning, mostTokens, p.reasoning, 1000)
	all.add(u.Requests, mostOthers, p.request, r.per*1000)
	all.add(u.Images, mostOthers, p.image, r.per*1000)
	all.add(u.Audio.Milliseconds(), mostTokens, p.second, r.per)
	return all.over(r.per*1000*(scale/unit), up)
}

// pricesAt returns the prices of a request with so many input tokens.
func (r *Row) pricesAt(input int64) *prices {
	for i := range r.tiers {
		if input > r.tiers[i].tokens {
			return &r.tiers[i].prices
		}
	}
	return &r.prices
}
