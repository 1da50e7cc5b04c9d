package llm

import (
	"context"

	"github.com/ginfer/ginfer/internal/ginctx"
)

// Place is the position at which a stream broke off, for the terminal event of its API.
type Place struct {
	// ID is the response's; "" if the API has none, or it was not read.
	ID string
	// Sequence is the number of the next event.
	Sequence int64
}

// Place returns the position in the stream.
func (s *Scanner) Place() Place { return Place{ID: string(s.id.bytes()), Sequence: s.sequence} }

type placeKey struct{}

// WithPlace returns a context with the position at which a stream broke off.
func WithPlace(ctx context.Context, p Place) context.Context {
	if p == (Place{}) {
		return ctx
	}
	return context.WithValue(ctx, placeKey{}, p)
}

// PlaceOf returns the position of [WithPlace].
func PlaceOf(ctx context.Context) Place {
	p, _ := ginctx.Value(ctx, placeKey{}).(Place)
	return p
}
