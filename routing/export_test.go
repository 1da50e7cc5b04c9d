package routing

// Share is a part of the unit interval, for tests of the split.
type Share struct {
	End   float64
	Owner int
}

// Split exports split.
func Split(weights []float64) []Share {
	var out []Share
	for _, s := range split(weights) {
		out = append(out, Share{s.end, s.owner})
	}
	return out
}

// Device exports device.
var Device = device
