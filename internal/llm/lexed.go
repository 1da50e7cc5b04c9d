//go:build !ginfer_lexed

package llm

// lexed is called with the number of bytes that a lexer reads. Here it does nothing.
func lexed(int) {}
