//go:build ginfer_lexed

package llm

import "sync/atomic"

// Lexed is how many bytes lexers have read: of a build for the test that counts them.
var Lexed atomic.Int64 //nolint:gochecknoglobals // of that build alone

func lexed(n int) { Lexed.Add(int64(n)) }
