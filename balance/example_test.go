package balance_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/ginfer/ginfer/balance"
)

func ExampleNew() {
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	one, two := httptest.NewServer(hello), httptest.NewServer(hello)
	defer one.Close()
	defer two.Close()
	transport := &http.Transport{} // usually not needed: the default suits a gateway
	defer transport.CloseIdleConnections()

	pool, err := balance.New(balance.Config{
		Endpoints: []balance.Endpoint{{Name: "one", URL: one.URL, Weight: 3}, {Name: "two", URL: two.URL}},
		Policy:    balance.RoundRobin(), // usually not needed: least request
		Transport: transport,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { _ = pool.Run(ctx) }() // active checks and outlier sweeps

	client := &http.Client{Transport: pool}
	for range 8 {
		res, err := client.Get("http://upstream/v1/models") // the host is replaced
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = res.Body.Close()
	}
	for _, s := range pool.Status() {
		fmt.Println(s.Name, s.Requests)
	}
	// Output:
	// one 6
	// two 2
}

func ExamplePrefixAffinity() {
	pool, err := balance.New(balance.Config{
		Endpoints: []balance.Endpoint{{Name: "a", URL: "http://10.0.0.1:8000"}, {Name: "b", URL: "http://10.0.0.2:8000"}, {Name: "c", URL: "http://10.0.0.3:8000"}},
		Policy:    balance.PrefixAffinity(),
		Transport: transport(fine),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: pool}
	chat := `{"role":"user","content":"hello"}`
	for range 5 {
		body := strings.NewReader(`{"model":"m","messages":[` + chat + `]}`)
		res, err := client.Post("http://upstream/v1/chat/completions", "application/json", body)
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = res.Body.Close()
		chat += `,{"role":"assistant","content":"hi"},{"role":"user","content":"go on"}`
	}
	together := 0
	for _, s := range pool.Status() {
		together = max(together, int(s.Requests))
	}
	fmt.Println(together, "of 5 turns together")
	// Output: 5 of 5 turns together
}

func ExampleTokenRate() {
	pool, err := balance.New(balance.Config{
		Endpoints: []balance.Endpoint{{Name: "a", URL: "http://10.0.0.1:8000"}, {Name: "b", URL: "http://10.0.0.2:8000"}},
		Policy:    balance.TokenRate(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(pool.Status()[0].Slowness)
	// Output: 1
}

func ExampleHash() {
	pool, err := balance.New(balance.Config{
		Endpoints: []balance.Endpoint{{Name: "a", URL: "http://10.0.0.1:8000"}, {Name: "b", URL: "http://10.0.0.2:8000"}, {Name: "c", URL: "http://10.0.0.3:8000"}},
		// Turns of a conversation go to the endpoint that has it in its cache.
		Policy:    balance.Hash(balance.HashConfig{Key: balance.ByHeader("X-Session-Id")}),
		Transport: transport(fine),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 5 {
		req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", http.NoBody)
		req.Header.Set("X-Session-Id", "session-1")
		res, err := pool.RoundTrip(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = res.Body.Close()
	}
	together := 0
	for _, s := range pool.Status() {
		together = max(together, int(s.Requests))
	}
	fmt.Println(together, "of 5 together")
	// Output: 5 of 5 together
}
