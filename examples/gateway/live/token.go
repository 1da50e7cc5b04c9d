package live

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"os"

	"github.com/ginfer/ginfer/auth"
)

// tokenVariable sets the token; without it every start generates a new one.
const tokenVariable = "GATEWAY_TOKEN"

func newToken() string {
	if t := os.Getenv(tokenVariable); t != "" {
		return t
	}
	return "demo-" + rand.Text()
}

// tokenIssuer is the issuer of its identity.
const tokenIssuer = "gateway"

// oneToken verifies the token of a gateway without other authentication, by its hash: as a
// Bearer token (OpenAI clients), in X-Api-Key (Anthropic clients), Api-Key (Azure clients) or
// X-Goog-Api-Key (Gemini clients).
type oneToken [sha256.Size]byte

// Verify implements auth.Verifier.
func (t oneToken) Verify(r *http.Request) (*auth.Identity, error) {
	token, err := auth.Bearer(r)
	if errors.Is(err, auth.ErrNoCredential) {
		token = cmp.Or(r.Header.Get("X-Api-Key"), r.Header.Get("Api-Key"), r.Header.Get("X-Goog-Api-Key"))
	}
	if token == "" {
		return nil, err
	}
	got := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(got[:], t[:]) == 0 {
		return nil, auth.ErrInvalid
	}
	return &auth.Identity{Subject: "token", Issuer: tokenIssuer, Method: "apikey"}, nil
}
