// Package hash computes 64-bit hashes that are the same in every process and version, so that
// replicas of a gateway agree on where a key belongs. It is not for secrets.
package hash

// FNV-1a, 64 bit: http://www.isthe.com/chongo/tech/comp/fnv/.
const (
	offset = 0xcbf29ce484222325
	prime  = 0x100000001b3
)

// String returns the FNV-1a hash of s with a seed, finalised by [Mix]: FNV alone leaves
// similar keys close together.
func String(seed uint64, s string) uint64 {
	h := offset ^ Mix(seed)
	for i := range len(s) {
		h ^= uint64(s[i])
		h *= prime
	}
	return Mix(h)
}

// Mix is the finaliser of MurmurHash3 (fmix64, Austin Appleby): every input
// bit changes about half of the output bits.
func Mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
