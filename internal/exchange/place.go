package exchange

import "github.com/ginfer/ginfer/internal/llm"

// Place returns the position in the attempt's stream, from which the terminal event of a broken
// stream is made.
func (a *Attempt) Place() llm.Place {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.ended:
		return a.end.Place
	case !a.scans:
		return llm.Place{}
	}
	return a.scanner.Place()
}
