//go:build race

package e2e_test

// raced reports whether the tests, and with them the gateway, run with the race detector.
const raced = true
