package queue

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"time"

	"github.com/ginfer/ginfer/queue/internal/jet"
)

// newID begins with the time, so that IDs sort by age, and goes on with 96 random
// bits, so that nobody can guess one.
func newID(prefix string) string {
	var b [18]byte
	ms := uint64(time.Now().UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i)) //nolint:gosec // its lowest byte is meant
	}
	_, _ = rand.Read(b[6:]) // never fails
	return prefix + hex.EncodeToString(b[:])
}

// isID says whether a text from a URL can be an ID, and so part of a key.
func isID(prefix, id string) bool {
	digits, ok := strings.CutPrefix(id, prefix)
	if !ok || len(digits) != 36 {
		return false
	}
	return !strings.ContainsFunc(digits, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') })
}

// The kinds of records, and what their IDs begin with.
const (
	jobPrefix   = "job_"
	batchPrefix = "batch_"
	filePrefix  = "file-"

	jobRecords   = "j"
	batchRecords = "b"
	fileRecords  = "f"
	usedKeys     = "i"
	triedLines   = "t"
)

// recordKey names an owner's record. It can't be made without the owner.
func recordKey(kind, owner, id string) string { return kind + "." + jet.Encode(owner) + "." + id }

// nameLimit is the longest owner or tenant in bytes.
const nameLimit = 256
