//go:build race

package queue_test

// raced is set when the tests, and so the gateway, run with the race detector.
const raced = true
