package demomodel_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/ginfer/ginfer/examples/demomodel"
)

func ExampleNew() {
	model, err := demomodel.New(demomodel.Config{Version: "v2", Name: "demo"})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(model)
	defer server.Close()

	const body = `{"model":"demo","prompt":"A token is","max_tokens":5,"temperature":0}`
	resp, err := server.Client().Post(server.URL+"/v1/completions", "application/json", strings.NewReader(body))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()

	var completion struct {
		Choices []struct {
			Text   string `json:"text"`
			Finish string `json:"finish_reason"`
		} `json:"choices"`
		Usage struct {
			Total int `json:"total_tokens"`
		} `json:"usage"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&completion); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(resp.StatusCode == http.StatusOK)
	fmt.Printf("A token is%s… (%s)\n", completion.Choices[0].Text, completion.Choices[0].Finish)
	fmt.Println(completion.Usage.Total, "tokens")
	// Output:
	// true
	// A token is a piece of text,… (length)
	// 9 tokens
}
