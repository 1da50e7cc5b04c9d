// Package storetest is a test suite for implementations of ratelimit.Store.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) ratelimit.Store { return mystore.New(...) })
//	}
//
// The suite uses real time, in short waits, as a store may use the clock of a server. Where
// it requires that something has not happened yet, that would take an hour.
package storetest
