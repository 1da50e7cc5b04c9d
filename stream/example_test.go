package stream_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/stream"
)

func ExampleNew() {
	streams, err := stream.New(stream.Config{Heartbeat: 15 * time.Second, Idle: 5 * time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := gin.New()
	r.GET("/count", streams.Middleware(), func(c *gin.Context) {
		out := stream.NewWriter(c.Writer)
		for i := range 2 {
			if out.JSON(gin.H{"n": i}) != nil {
				return // the client left
			}
		}
		_ = out.Done()
	})
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/count", nil))
	fmt.Print(w.Body)
	fmt.Println(streams.Drain(context.Background()))
	// Output:
	// data: {"n":0}
	//
	// data: {"n":1}
	//
	// data: [DONE]
	//
	// <nil>
}

func ExampleReader() {
	r := stream.NewReader(strings.NewReader("id: 1\ndata: hello\n\n: comment\n\nevent: end\ndata: bye\n\n"), 0)
	for m, err := range r.All() {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%q %q %q\n", m.ID, m.Event, m.Data)
	}
	// Output:
	// "1" "" "hello"
	// "1" "end" "bye"
}

func ExampleNewHub() {
	hub, err := stream.NewHub(stream.HubConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	topic, err := hub.Create("response-7")
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = topic.Publish(stream.Message{Data: "Hello"})
	_ = topic.Publish(stream.Message{Data: "world"})
	topic.Close()

	r := gin.New()
	r.GET("/streams/:id", hub.Handler(func(c *gin.Context) string { return c.Param("id") }))
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/streams/response-7", nil))
	for m, err := range stream.NewReader(w.Body, 0).All() {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(m.Data)
	}
	// Output:
	// Hello
	// world
}

// A meter counts the tokens of a request, and requests usage if the client did not.
func ExampleNewMeter() {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Println("upstream got:", string(body))
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n"+
			"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n")
	}))
	defer upstream.Close()
	meter, err := stream.NewMeter(stream.MeterConfig{OnUsage: func(_ context.Context, u stream.Usage) {
		fmt.Println("it took", u.Input, "and", u.Output, "tokens, estimated:", u.Estimated)
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := http.Client{Transport: meter.Transport(http.DefaultTransport)}
	res, err := client.Post(upstream.URL+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"m","stream":true}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	response, err := io.ReadAll(res.Body)
	fmt.Printf("%s%v\n", response, err)
	_ = res.Body.Close()
	// Output:
	// upstream got: {"stream_options":{"include_usage":true},"model":"m","stream":true}
	// it took 9 and 1 tokens, estimated: false
	// data: {"choices":[{"delta":{"content":"Hi"}}]}
	//
	// data: [DONE]
	//
	// <nil>
}
