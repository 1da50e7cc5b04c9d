package hash_test

import (
	"fmt"
	"hash/fnv"
	"math"
	"testing"

	"github.com/ginfer/ginfer/internal/hash"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Replicas of different versions must agree, so these values never change.
func TestGolden(t *testing.T) {
	t.Parallel()
	tests := []struct {
		seed uint64
		s    string
		want uint64
	}{
		{0, "", 0xefd01f60ba992926},
		{0, "a", 0x82a2a958a9bece5b},
		{0, "user-42", 0xa39532c7ab051e8d},
		{0, "http://10.0.0.1:8000", 0x8829ae9de4d53dc2},
		{0, "ä\x00\xff", 0x4288433b1a701dc5},
		{1, "", 0x85bad54dda0e0188},
		{1, "a", 0x73e06e574120228a},
		{42, "user-42", 0x9355345a5ebabcba},
		{math.MaxUint64, "user-42", 0xa46398146fc39276},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, hash.String(tt.seed, tt.s), "String(%d, %q) = %#x", tt.seed, tt.s, hash.String(tt.seed, tt.s))
	}
	for in, want := range map[uint64]uint64{
		0:              0, // the only known fixed point
		1:              0xb456bcfc34c2cb2c,
		2:              0x3abf2a20650683e7,
		0xdeadbeef:     0xd24bd59f862a1dac,
		math.MaxUint64: 0x64b5720b4b825f21,
	} {
		assert.Equal(t, want, hash.Mix(in), "Mix(%#x) = %#x", in, hash.Mix(in))
	}
}

// With seed 0 it is the FNV-1a of the standard library, mixed.
func TestStringIsFNV(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "a", "user-42", "\x00", "日本"} {
		h := fnv.New64a()
		_, err := h.Write([]byte(s))
		require.NoError(t, err)
		assert.Equal(t, hash.Mix(h.Sum64()), hash.String(0, s), "%q", s)
	}
}

// inverse undoes the multiplication by an odd number (Newton's method).
func inverse(a uint64) uint64 {
	x := a
	for range 6 {
		x *= 2 - a*x
	}
	return x
}

// unmix inverts Mix step by step, which shows that it has no collisions.
func unmix(h uint64) uint64 {
	h ^= h >> 33
	h *= inverse(0xc4ceb9fe1a85ec53)
	h ^= h >> 33
	h *= inverse(0xff51afd7ed558ccd)
	return h ^ h>>33
}

func TestMixIsABijection(t *testing.T) {
	t.Parallel()
	x := uint64(0)
	for range 100_000 {
		if unmix(hash.Mix(x)) != x { // require is slow
			require.Equal(t, x, unmix(hash.Mix(x)))
		}
		x += 0x9e3779b97f4a7c15 // the golden ratio reaches all parts of the range
	}
	for bit := range 64 {
		require.Equal(t, uint64(1)<<bit, unmix(hash.Mix(1<<bit)))
	}
}

// Similar keys spread evenly, by their low bits as by their high ones, and
// differently for every seed.
func TestDistribution(t *testing.T) {
	t.Parallel()
	const keys, buckets = 16_000, 16
	for _, format := range []string{"user-%d", "%d", "http://10.0.0.%d:8000", "%08x-0000-0000-0000-000000000000"} {
		for _, seed := range []uint64{0, 1, 2, math.MaxUint64} {
			var low, high [buckets]int
			for i := range keys {
				h := hash.String(seed, fmt.Sprintf(format, i))
				low[h%buckets]++
				high[h>>60]++
			}
			// χ² with 15 degrees of freedom is above 44.3 once in ten thousand.
			assert.Less(t, chiSquare(low[:], keys), 44.3, "low bits, %s, seed %d", format, seed)
			assert.Less(t, chiSquare(high[:], keys), 44.3, "high bits, %s, seed %d", format, seed)
		}
	}
}

func chiSquare(counts []int, total int) (sum float64) {
	want := float64(total) / float64(len(counts))
	for _, n := range counts {
		d := float64(n) - want
		sum += d * d / want
	}
	return sum
}

func TestSeedsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[uint64]struct{}{}
	for seed := range uint64(100) {
		for i := range 100 {
			h := hash.String(seed, fmt.Sprintf("key-%d", i))
			seen[h] = struct{}{}
		}
	}
	assert.Len(t, seen, 100*100, "64 bits have room for all of them")
}

func BenchmarkString(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = hash.String(7, "http://10.0.0.1:8000")
	}
}
