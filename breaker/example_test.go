package breaker_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/breaker"
)

func ExampleNew() {
	g, err := breaker.New(breaker.Config{Settings: breaker.Settings{Consecutive: 3}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer g.Close()
	client := &http.Client{Transport: g.Transport(&upstream{respond: refused})}
	for range 4 {
		_, err := client.Get("http://model.example/") //nolint:bodyclose // there is no response
		fmt.Println(errors.Is(err, breaker.ErrOpen))
	}
	fmt.Println(g.Status()[0].State)
	// Output:
	// false
	// false
	// false
	// true
	// open
}

func ExampleGroup_Middleware() {
	g, err := breaker.New(breaker.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer g.Close()
	r := gin.New()
	r.GET("/", g.Middleware(breaker.MiddlewareConfig{Fallback: func(c *gin.Context) {
		c.String(http.StatusOK, "an stale response")
	}}), func(c *gin.Context) { c.String(http.StatusInternalServerError, "a failure") })
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Code, w.Body)
	// Output: 200 an stale response
}
