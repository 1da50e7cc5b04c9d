package observe

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/observe/internal/plain"
)

// The headers of a request's id, in canonical form. Anthropic's clients read the second.
const (
	headerRequestID   = "X-Request-Id"
	headerAnthropicID = "Request-Id"
)

// RequestID returns the id of the request that ctx belongs to, "" when no
// [AccessLog] gave it one.
func RequestID(ctx context.Context) string { return recordOf(ctx).snapshotID() }

func (r *record) snapshotID() string {
	if r == nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entry.id
}

// ForwardRequestID tells the upstream the request's id. It fits
// proxy.Config.Rewrite.
func ForwardRequestID(c *gin.Context, out *http.Request) {
	if id := RequestID(c.Request.Context()); id != "" { //nolint:contextcheck // the id is in the inbound one
		out.Header[headerRequestID] = []string{id}
	}
}

// requestID is the client's, if it sent one that can stand in a log, or a new one.
func requestID(r *http.Request, own bool) string {
	if sent := r.Header[headerRequestID]; !own && len(sent) == 1 && isID(sent[0]) {
		return sent[0]
	}
	return newID()
}

// isID reports whether s is 1 to 128 characters of those that ids are made of.
func isID(s string) bool {
	if s == "" || len(s) > plain.Word {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == ':', c == '+', c == '/', c == '=':
		default:
			return false
		}
	}
	return true
}

// newID makes a UUID of version 7: ids sort by time. It need not be secret.
func newID() string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], uint64(time.Now().UnixMilli())<<16|rand.Uint64()>>52) //nolint:gosec // see above
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())                                        //nolint:gosec // see above
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[0:8], id[0:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
