// Package storetest says by test what is asked of a ratelimit.Store.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) ratelimit.Store { return mystore.New(...) })
//	}
//
// It waits for real time to pass, though never long, since a store may go by the
// clock of a server. Where it asks that something be not yet so, it asks that only
// of what takes an hour.
package storetest
