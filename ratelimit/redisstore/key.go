package redisstore

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/ginfer/ginfer/ratelimit"
)

// maxPart bounds a part of a key that is not hashed, in bytes.
const maxPart = 200

// key is the key of a bucket in Redis. Buckets with the same tag, as those of several limits
// for one caller, are on the same node of a cluster.
type key struct{ tag, name string }

// key returns the key PREFIX:{KEY}:LIMIT:ENDS of a bucket. It is unambiguous: no part before
// the last contains its own delimiter.
func (s *Store) key(b *ratelimit.Bucket) key {
	tag := part(b.Key)
	return key{tag: tag, name: s.cfg.Prefix + ":{" + tag + "}:" + part(b.Limit) + ":" + strconv.FormatInt(millis(b.Ends), 10)}
}

// part returns s, or its hash if s is long, ambiguous, or empty, which would be no hash tag.
func part(s string) string {
	if s != "" && len(s) <= maxPart && s[0] != '#' && !strings.ContainsAny(s, "{}") {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "#" + hex.EncodeToString(sum[:])
}

// millis returns a time in milliseconds since 1970; 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
