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

// Headers of a request's ID, in canonical form. Anthropic's clients read the second. In a
// response they are the upstream's, if it sends them: its support needs them.
const (
	headerRequestID   = "X-Request-Id"
	headerAnthropicID = "Request-Id"
)

// defaultIDHeader is the default of AccessLogConfig.IDHeader, in canonical form.
const defaultIDHeader = "X-Gateway-Request-Id"

// RequestID returns the ID of the request in ctx, or "" without an [AccessLog]. Use it to
// correlate your own logs.
func RequestID(ctx context.Context) string { return recordOf(ctx).snapshotID() }

func (r *record) snapshotID() string {
	if r == nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entry.id
}

// ForwardRequestID is a proxy.Config.Rewrite that sends the request's ID to the upstream.
func ForwardRequestID(c *gin.Context, out *http.Request) {
	if id := RequestID(c.Request.Context()); id != "" { //nolint:contextcheck // the inbound context has the ID
		out.Header[headerRequestID] = []string{id}
	}
}

// requestID returns the client's ID if it is valid, or a new one.
func requestID(r *http.Request, own bool) string {
	if sent := r.Header[headerRequestID]; !own && len(sent) == 1 && isID(sent[0]) {
		return sent[0]
	}
	return newID()
}

// isID reports whether s has 1 to 128 characters, all valid in an ID.
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

// newID returns a UUID of version 7, which sorts by time. It is not a secret.
func newID() string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], uint64(time.Now().UnixMilli())<<16|rand.Uint64()>>52) //nolint:gosec // not a secret
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())                                        //nolint:gosec // not a secret
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
