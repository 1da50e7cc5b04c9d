package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"os"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
)

// tokenVariable fixes the token; without it every start makes a new one.
const tokenVariable = "GATEWAY_TOKEN"

func newToken() string {
	if t := os.Getenv(tokenVariable); t != "" {
		return t
	}
	return "demo-" + rand.Text()
}

// requireToken is the token stage: it lets in who knows the one token, as a
// Bearer token (OpenAI clients) or in X-Api-Key (Anthropic clients).
func requireToken(token string) gin.HandlerFunc {
	want := sha256.Sum256([]byte(token))
	return func(c *gin.Context) {
		got := sha256.Sum256([]byte(presented(c.Request.Header)))
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			return
		}
		c.Header("WWW-Authenticate", `Bearer realm="gateway"`)
		apierror.Abort(c, &apierror.Error{Status: http.StatusUnauthorized, Code: "invalid_api_key", Message: "The token is missing or wrong."})
	}
}

func presented(h http.Header) string {
	scheme, token, ok := strings.Cut(h.Get("Authorization"), " ")
	if ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return h.Get("X-Api-Key")
}

// hideToken keeps the gateway's token from the upstreams.
func hideToken(out *http.Request) {
	out.Header.Del("Authorization")
	out.Header.Del("X-Api-Key")
}
