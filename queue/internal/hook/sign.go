// Package hook signs webhooks as the Standard Webhooks specification defines
// (https://www.standardwebhooks.com), and restricts the addresses that they may call.
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

// secretPrefix is the prefix of a secret.
const secretPrefix = "whsec_"

// The bounds of a secret in the specification, in bytes.
const (
	minSecret = 24
	maxSecret = 64
)

// ErrSecret is returned for a secret that does not follow the specification.
var ErrSecret = errors.New("a webhook secret is whsec_ and 24 to 64 bytes in base64")

// Secret decodes a secret.
func Secret(text string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
		return nil, ErrSecret
	}
	return key, nil
}

// Sign sets the headers of a message, with a signature for each key. The receiver needs
// any one of them, so that secrets can be rotated.
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
