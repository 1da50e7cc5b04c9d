package price_test

import (
	"fmt"
	"time"

	"github.com/ginfer/ginfer/price"
)

func Example() {
	table, err := price.Parse([]byte(`{"currency": "USD", "models": [
		{"model": "gpt-5*", "input": 1.25, "cached_input": 0.125, "output": 10},
		{"model": "gpt-5-mini*", "input": 0.25, "cached_input": 0.025, "output": 2}
	]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	row, err := table.Find("gpt-5-mini", "azure", time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	// 200 × 0.25 + 1000 × 0.025 + 85 × 2 = 245 for a million tokens
	fmt.Println(row.Cost(price.Usage{Input: 1200, Cached: 1000, Output: 85}), table.Currency())
	_, err = table.Find("llama-3", "azure", time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC))
	fmt.Println(err)
	// Output:
	// 0.000245 USD
	// price: no price of model "llama-3" at upstream "azure" on 2026-05-01
}
