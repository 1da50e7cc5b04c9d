// Package storetest says by test what is asked of a cache.Store.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) cache.Store { return mystore.New(...) })
//	}
//
// It waits for real time to pass, though never long, since a store may go by the clock
// of a server. [RunPurges] does the same for a cache.Purges.
package storetest
