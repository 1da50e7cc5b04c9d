package stream_test

import (
	"context"
	"fmt"
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
	topic, err := hub.Create("answer-7")
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
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/streams/answer-7", nil))
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
