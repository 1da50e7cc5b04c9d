package exchange

import "github.com/ginfer/ginfer/internal/llm"

// Place is where the attempt's stream is: what the terminal event of a broken one must say.
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
