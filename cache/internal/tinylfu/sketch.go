package tinylfu

// rows is the number of counters of each key. The least of them is the estimate.
const rows = 4

// sample is the number of counts, per key of capacity, after which all counters are
// halved, so that past popularity fades.
const sample = 10

// Sketch estimates how often keys were requested recently: a count-min sketch of four-bit
// counters behind a Bloom filter that absorbs the first request of each key. It is not
// safe for concurrent use.
type Sketch struct {
	counters []uint64 // of four bits
	door     []uint64 // the Bloom filter
	mask     uint64
	seen     int
	limit    int
}

// NewSketch returns a Sketch with a capacity of so many keys.
func NewSketch(keys int) *Sketch {
	words := 16
	for words < keys {
		words *= 2
	}
	return &Sketch{
		counters: make([]uint64, words), door: make([]uint64, max(words/8, 1)),
		mask: uint64(words) - 1, limit: sample * max(keys, 16),
	}
}

// spread derives an independent hash for each row (SplitMix64).
func spread(h uint64, row uint64) uint64 {
	h += (row + 1) * 0x9E3779B97F4A7C15
	h = (h ^ h>>30) * 0xBF58476D1CE4E5B9
	h = (h ^ h>>27) * 0x94D049BB133111EB
	return h ^ h>>31
}

// at returns the position of a key's counter in a row: a word, and a shift within it.
func (s *Sketch) at(h, row uint64) (word, shift uint64) {
	x := spread(h, row)
	return x >> 2 & s.mask, (row<<2 | x&3) << 2
}

// Count counts a request of a key.
func (s *Sketch) Count(h uint64) {
	if s.seen++; s.seen >= s.limit {
		s.age()
	}
	if !s.knock(h) {
		return
	}
	for row := range uint64(rows) {
		word, shift := s.at(h, row)
		if s.counters[word]>>shift&0xf < 0xf {
			s.counters[word] += 1 << shift
		}
	}
}

// doorBits returns the two bits of a key in the Bloom filter.
func (s *Sketch) doorBits(h uint64) (w1, m1, w2, m2 uint64) {
	x := spread(h, rows)
	n := uint64(len(s.door))*64 - 1
	a, b := x&n, x>>32&n
	return a / 64, 1 << (a % 64), b / 64, 1 << (b % 64)
}

// knock adds a key to the Bloom filter and reports whether it was there before.
func (s *Sketch) knock(h uint64) bool {
	w1, m1, w2, m2 := s.doorBits(h)
	known := s.door[w1]&m1 != 0 && s.door[w2]&m2 != 0
	s.door[w1] |= m1
	s.door[w2] |= m2
	return known
}

// Estimate returns about how often a key was requested recently, at most 16.
func (s *Sketch) Estimate(h uint64) int {
	least := uint64(0xf)
	for row := range uint64(rows) {
		word, shift := s.at(h, row)
		least = min(least, s.counters[word]>>shift&0xf)
	}
	n := int(least)
	if w1, m1, w2, m2 := s.doorBits(h); s.door[w1]&m1 != 0 && s.door[w2]&m2 != 0 {
		n++
	}
	return n
}

// age halves all counters.
func (s *Sketch) age() {
	const low = 0x7777777777777777
	for i, c := range s.counters {
		s.counters[i] = c >> 1 & low
	}
	clear(s.door)
	s.seen /= 2
}
