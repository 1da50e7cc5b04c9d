// Package cachekey builds the keys of the cache: SHA-256 over the parts of a request that
// matter for its response.
//
//	b := pool.Get()
//	defer pool.Put(b)
//	b.Reset()
//	b.Add("llm")
//	b.AddPath(req, headers)
//	m, err := b.Canonical(body, fields, cachekey.All)
//	b.AddBytes(m.JSON)
//	k := b.Sum()
//
// Every part is preceded by its length, so that two requests have the same key only if all
// their parts are equal. A request to a model with a member that is not known has no key:
// the cache fails closed.
package cachekey
