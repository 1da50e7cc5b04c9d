//go:build ginfer_lexed

package llm

import "sync/atomic"

// Lexed is the number of bytes that lexers have read, in builds that count them.
var Lexed atomic.Int64 //nolint:gochecknoglobals // only in that build

func lexed(n int) { Lexed.Add(int64(n)) }
