package llm

import "context"

// Place is where a stream broke off, as the terminal event of an API must have it.
type Place struct {
	// ID is that of the response; "" where the API has none, or it was not seen.
	ID string
	// Sequence is the number of the next event.
	Sequence int64
}

// Place is where the stream is.
func (s *Scanner) Place() Place { return Place{ID: string(s.id.bytes()), Sequence: s.sequence} }

type placeKey struct{}

// WithPlace returns a context that says where a stream broke off.
func WithPlace(ctx context.Context, p Place) context.Context {
	if p == (Place{}) {
		return ctx
	}
	return context.WithValue(ctx, placeKey{}, p)
}

// PlaceOf is what [WithPlace] noted.
func PlaceOf(ctx context.Context) Place {
	p, _ := ctx.Value(placeKey{}).(Place)
	return p
}
