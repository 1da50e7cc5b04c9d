package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"os"

	"github.com/ginfer/ginfer/auth"
)

// tokenVariable fixes the token; without it every start makes a new one.
const tokenVariable = "GATEWAY_TOKEN"

func newToken() string {
	if t := os.Getenv(tokenVariable); t != "" {
		return t
	}
	return "demo-" + rand.Text()
}

// tokenIssuer is the issuer of its identity.
const tokenIssuer = "gateway"

// oneToken knows the one token, by its hash, of a gateway that knows callers in no
// other way: as a Bearer token (OpenAI clients) or in X-Api-Key (Anthropic clients).
type oneToken [sha256.Size]byte

// Verify implements auth.Verifier.
func (t oneToken) Verify(r *http.Request) (*auth.Identity, error) {
	token, err := auth.Bearer(r)
	if errors.Is(err, auth.ErrNoCredential) {
		token = r.Header.Get("X-Api-Key")
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
