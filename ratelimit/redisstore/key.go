package redisstore

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/ginfer/ginfer/ratelimit"
)

// maxPart is the longest part of a key that stands for itself, in bytes.
const maxPart = 200

// key is a bucket's place in Redis. Buckets with the same tag are on the same node
// of a cluster: that is, the buckets that several limits have for one caller.
type key struct{ tag, name string }

// key names a bucket PREFIX:{KEY}:LIMIT:ENDS. Different buckets have different
// names: no part before the last has what ends it.
func (s *Store) key(b *ratelimit.Bucket) key {
	tag := part(b.Key)
	return key{tag: tag, name: s.cfg.Prefix + ":{" + tag + "}:" + part(b.Limit) + ":" + strconv.FormatInt(millis(b.Ends), 10)}
}

// part is s, or its hash where s is long or would be mistaken. An empty one would
// be no tag.
func part(s string) string {
	if s != "" && len(s) <= maxPart && s[0] != '#' && !strings.ContainsAny(s, "{}") {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "#" + hex.EncodeToString(sum[:])
}

// millis is a time in milliseconds since 1970; 0 is none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
