// Package recent remembers a time for each of the latest keys, in bounded memory: when an
// address was changed, or until when a key must not be coalesced.
//
//	var changes recent.Times
//	changes.Add(address, time.Now())
//	stale := entry.RequestTime.Before(changes.Latest(address))
package recent
