// Package benchmarks measures parts of ginfer beside the libraries that are used in
// their place today, in turns in one run:
//
//	go test -run '^$' -bench . -benchmem -count 5 ./benchmarks
//
// Read the ratios, not the times.
package benchmarks
