// Package benchmarks compares parts of ginfer with other libraries for the same task, in
// one run:
//
//	go test -run '^$' -bench . -benchmem -count 5 ./benchmarks
//
// Read the ratios, not the times.
package benchmarks
