//go:build race

package balance_test

// raced reports whether the tests run with the race detector.
const raced = true
