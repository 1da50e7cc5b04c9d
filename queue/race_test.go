//go:build race

package queue_test

// raced says that the tests run with the race detector; so does then the gateway.
const raced = true
