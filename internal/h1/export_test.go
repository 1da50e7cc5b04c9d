package h1

// Idle returns the number of idle connections.
func (t *Transport) Idle() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, h := range t.hosts {
		h.mu.Lock()
		n += len(h.idle)
		h.mu.Unlock()
	}
	return n
}
