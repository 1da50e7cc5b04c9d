// Package hook calls webhooks: signed as the Standard Webhooks specification has it
// (https://www.standardwebhooks.com), and only to where a gateway may call.
package hook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// secretPrefix begins a secret of the specification.
const secretPrefix = "whsec_"

// The specification's bounds of a secret, in bytes.
const (
	minSecret = 24
	maxSecret = 64
)

// ErrSecret: a secret is not one of the specification.
var ErrSecret = errors.New("a webhook secret is whsec_ and 24 to 64 bytes in base64")

// Secret reads a secret.
func Secret(text string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
		return nil, ErrSecret
	}
	return key, nil
}

// Sign sets the headers of a message. With several keys the receiver may know any of
// them, so that secrets can be changed.
func Sign(h http.Header, keys [][]byte, id string, at time.Time, body []byte) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, len(keys))
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + stamp + "."))
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", stamp)
	h.Set("Webhook-Signature", strings.Join(signatures, " "))
}
