// Package body holds request bodies in memory, within one bound and one budget, and
// changes them without copying.
//
// The first stage that needs a request's body calls [Hold]; all stages after it get the
// same [Held], whose bytes are decoded once and read by package llm once. A body beyond the
// bound is kept as far as it was read, and the rest of it streams.
//
// Outbound requests carry a held body with [Patch]es over its bytes, which are never
// changed: see [Set], [Apply], [Rename] and [Segments].
package body
