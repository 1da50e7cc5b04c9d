package cache

import (
	"context"
	"fmt"
	"time"
)

// semanticTimeout bounds each question to a Semantic.
const semanticTimeout = time.Second

// Semantic finds the answer to a request that asks for the same in other words, by
// embeddings for instance. There is none in this package: how alike is alike enough is
// for who knows the questions to say, and a wrong answer is worse than none.
//
// It is asked when there is no entry for exactly the same request, and told of each that
// is stored. It is called concurrently; an error is a miss.
type Semantic interface {
	// Find returns the key of an entry that answers the query too, or "". It must look
	// only among queries with the same Partition.
	Find(ctx context.Context, q Query) (key string, err error)
	// Add tells of an entry that was stored. It may be gone at any time.
	Add(ctx context.Context, q Query, key string) error
}

// Query is what a request asks for.
type Query struct {
	// Partition is the same for requests that differ in nothing but what is asked: of the
	// same scope, model, version, path and parameters, and since the last purge.
	Partition string
	// Model is the model's name.
	Model string
	// Prompt is what is asked, as canonical JSON: the members messages, input,
	// instructions, prompt and system, as far as there are any.
	Prompt []byte
}

// similar finds an entry by what is asked.
func (x *exchange) similar(ctx context.Context) *Entry {
	if x.cfg.Semantic == nil || x.query == nil {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, semanticTimeout)
	defer cancel()
	key, err := x.cfg.Semantic.Find(limited, *x.query)
	if err != nil {
		x.failed(ctx, fmt.Errorf("cache: Semantic.Find: %w", err))
		return nil
	}
	if key == "" {
		return nil
	}
	e, err := x.cfg.Store.Get(limited, key)
	if err != nil || e.Mark != x.query.Partition { // whatever a Semantic says, it is nobody else's
		return nil
	}
	x.status.Detail = "semantic"
	return e
}

// addSimilar tells of an entry that was stored.
func (x *exchange) addSimilar(ctx context.Context, key string) {
	if x.cfg.Semantic == nil || x.query == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, semanticTimeout)
	defer cancel()
	if err := x.cfg.Semantic.Add(ctx, *x.query, key); err != nil {
		x.failed(ctx, fmt.Errorf("cache: Semantic.Add: %w", err))
	}
}
