// Package body keeps request bodies in memory, within a limit per body and a shared budget, so
// that they can be inspected, changed without copying and sent again.
//
// The first stage that needs a request's body calls [Hold]; later stages get the same [Held],
// which is decoded once and parsed once by package llm. A body beyond the limit is kept as far
// as it was read, and the rest of it streams.
//
// Outbound requests carry a held body with [Patch]es over its bytes, which are never modified:
// see [Set], [Apply], [Rename] and [Segments].
//
// What happens on failure: a body that can't be read or for which the budget has no room is
// refused (closed) with an *apierror.Error; one that is too long is not, it streams.
package body
