//go:build !unix

package redistest

// Freeze skips the test: this platform can't suspend a process.
func (s *Server) Freeze() { s.tb.Skip("no signals to suspend a process on this platform") }

// Thaw undoes Freeze.
func (s *Server) Thaw() {}
