package proxy

import (
	"errors"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/fault"
)

// DefaultBodyLimit is the default of BodiesConfig.Limit, in bytes.
const DefaultBodyLimit = body.DefaultLimit

// BodiesConfig configures Bodies.
type BodiesConfig struct {
	// Limit is the largest request body that is kept in memory, in bytes: to find its model, to
	// estimate its cost and to send it again. Of a longer body the beginning is read, and the
	// rest is streamed. Default: [DefaultBodyLimit].
	Limit int64
	// Budget is the memory for all bodies together, in bytes. A request beyond it is rejected
	// with 503. Default: a quarter of the process's memory limit (GOMEMLIMIT, else that of its
	// control group or machine), at least 256 MiB.
	Budget int64
	// Share is the part of Budget, from 0 to 1, that one caller may use, or all unauthenticated
	// callers together. Default: 0.25.
	Share float64
}

// Bodies limits the memory for request bodies. The stages auth, ratelimit, routing, cache and
// proxy read a body once, within this limit. Use it to change the defaults, which apply to the
// whole process otherwise. It is safe for concurrent use.
type Bodies struct{ bodies *body.Bodies }

// NewBodies returns Bodies. It returns an error that joins all faults of cfg.
func NewBodies(cfg BodiesConfig) (*Bodies, error) {
	var faults []error
	if cfg.Limit < 0 || cfg.Budget < 0 {
		faults = append(faults, errors.New("proxy: BodiesConfig: Limit and Budget must not be negative"))
	}
	if !(cfg.Share >= 0 && cfg.Share <= 1) {
		faults = append(faults, errors.New("proxy: BodiesConfig.Share must be from 0 to 1"))
	}
	if err := fault.Join(faults...); err != nil {
		return nil, err
	}
	return &Bodies{body.New(body.Config{Limit: cfg.Limit, Budget: cfg.Budget, Share: cfg.Share})}, nil
}

// Middleware returns the handler that applies the limits. Place it first, before any stage that
// reads a body.
func (b *Bodies) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		r, end := body.Track(c.Request, b.bodies)
		defer end()
		c.Request = r
		c.Next()
	}
}

// Within returns Bodies with another Limit and the same budget, for a group of routes with
// larger or smaller bodies. A limit below 1 selects the default.
func (b *Bodies) Within(limit int64) *Bodies {
	if limit < 1 {
		limit = DefaultBodyLimit
	}
	return &Bodies{b.bodies.Within(limit)}
}
