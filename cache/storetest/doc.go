// Package storetest is a test suite for implementations of cache.Store.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) cache.Store { return mystore.New(...) })
//	}
//
// It waits in real time, though never long, since a store may use the clock of a server.
// [RunPurges] is the suite for cache.Purges, [RunClaims] for cache.Claims.
package storetest
