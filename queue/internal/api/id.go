package api

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"time"

	"github.com/ginfer/ginfer/queue/internal/jet"
)

// NewID returns an ID that begins with the time, so that IDs sort by age, followed by
// 96 random bits, so that it can't be guessed.
func NewID(prefix string) string {
	var b [18]byte
	ms := uint64(time.Now().UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i)) //nolint:gosec // its lowest byte is meant
	}
	_, _ = rand.Read(b[6:]) // never fails
	return prefix + hex.EncodeToString(b[:])
}

// IsID reports whether a part of a URL can be an ID, and so part of a key.
func IsID(prefix, id string) bool {
	digits, ok := strings.CutPrefix(id, prefix)
	if !ok || len(digits) != 36 {
		return false
	}
	return !strings.ContainsFunc(digits, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') })
}

// The prefixes of IDs.
const (
	JobPrefix   = "job_"
	BatchPrefix = "batch_"
	FilePrefix  = "file-"
)

// The kinds of records.
const (
	JobRecords     = "j"
	BatchRecords   = "b"
	FileRecords    = "f"
	KeyRecords     = "i"
	AttemptRecords = "t"
)

// Key names an owner's record. It requires the owner, so that no caller can read
// another's.
func Key(kind, owner, id string) string { return kind + "." + jet.Encode(owner) + "." + id }

// IDOf returns the ID in a key.
func IDOf(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// Unix returns nil for the zero time.
func Unix(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	s := t.Unix()
	return &s
}
