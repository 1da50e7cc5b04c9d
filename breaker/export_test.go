package breaker

// Warm makes circuits of hystrix outside of a synctest bubble: their goroutines
// never end.
func Warm(n int) {
	var all []*rates
	for range n {
		r, err := newRates()
		if err != nil {
			panic(err)
		}
		all = append(all, r)
	}
	spare.mu.Lock()
	defer spare.mu.Unlock()
	spare.free = append(spare.free, all...)
}

// Made is how many there are.
func Made() int {
	spare.mu.Lock()
	defer spare.mu.Unlock()
	return spare.made
}

// RouteName is a path without its ids.
func RouteName(path string) string { return routeName(path) }
