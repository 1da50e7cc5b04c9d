package breaker

// Warm makes hystrix circuits outside of a synctest bubble: their goroutines never end.
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

// Made returns the number of hystrix circuits.
func Made() int {
	spare.mu.Lock()
	defer spare.mu.Unlock()
	return spare.made
}

// RouteName returns a path without its ids.
func RouteName(path string) string { return routeName(path) }
