package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
)

func ExampleNew() {
	key, hash := auth.NewKey(auth.DefaultPrefix)
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{Lookup: func(_ context.Context, h string) (*auth.Identity, error) {
		if h != hash {
			return nil, auth.ErrInvalid
		}
		return &auth.Identity{Subject: "team-a", Scopes: []string{"chat"}}, nil
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	authn, err := auth.New(auth.Config{Verifiers: []auth.Verifier{keys}})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := gin.New()
	r.Use(authn.Middleware())
	r.GET("/chat", auth.Require("chat"), func(c *gin.Context) {
		id, _ := auth.FromContext(c.Request.Context())
		c.String(http.StatusOK, id.Subject)
	})
	for _, credential := range []string{key, "gk_wrong", ""} {
		req := httptest.NewRequest(http.MethodGet, "/chat", nil)
		if credential != "" {
			req.Header.Set("X-Api-Key", credential)
		}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		fmt.Printf("%d %q\n", w.Code, w.Header().Get("WWW-Authenticate"))
	}
	// Output:
	// 200 ""
	// 401 "Bearer realm=\"gateway\", error=\"invalid_token\""
	// 401 "Bearer realm=\"gateway\""
}
